#include "cli/lab/report_page.h"

namespace headshare::cli {

// Colours stand once, at the top, for light and for dark. From 70rem (1120 pixels) on, the contents stand beside the
// text.
const std::string_view report_style = R"css(
:root {
  --paper: #fdfdfb; --card: #fff; --ink: #23272d; --pale: #626a75; --line: #dfe2e6; --accent: #00629b;
  --shade: rgba(30, 40, 55, .16);
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #15181c; --card: #1b1f24; --ink: #dde1e6; --pale: #98a1ad; --line: #31373f; --accent: #6cb8ea;
    --shade: rgba(0, 0, 0, .6);
  }
  img { filter: brightness(.9); }
}
* { box-sizing: border-box; }
html { scroll-padding-top: 1.5rem; -webkit-text-size-adjust: 100%; }
body {
  margin: 0 auto; padding: 0 1.1rem 4rem; max-width: 82rem; background: var(--paper); color: var(--ink);
  font: 1.0625rem/1.6 Charter, "Bitstream Charter", "Source Serif 4", Cambria, Georgia, "DejaVu Serif", serif;
  overflow-wrap: break-word;
}
nav, table, dt, h4, figcaption, .kind, .note, .fields, header p {
  font-family: system-ui, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", "DejaVu Sans", sans-serif;
}
h1, h2, h3, h4 { line-height: 1.25; text-wrap: balance; }
h1 { margin: 0 0 .4rem; font-size: clamp(1.7rem, 1.3rem + 1.8vw, 2.4rem); }
h2 { margin: 0 0 1rem; font-size: clamp(1.35rem, 1.2rem + .7vw, 1.7rem); }
h3 { margin: 2.2rem 0 .7rem; font-size: 1.15rem; }
h4 { margin: 0 0 .4rem; font-size: .85rem; color: var(--pale); }
a { color: var(--accent); text-decoration: none; }
a:hover, a:focus-visible { text-decoration: underline; text-underline-offset: .2em; }
code { font: .82rem/1.5 ui-monospace, "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
header { padding: 2.6rem 0 1.4rem; border-bottom: 1px solid var(--line); }
header p, .note, figcaption { margin: .6rem 0 0; color: var(--pale); font-size: .86rem; line-height: 1.5; }
section { padding-top: 2.6rem; }
.kind { margin: 0 0 .2rem; color: var(--accent); font-size: .8rem; letter-spacing: .03em; }

nav { padding-top: 1.4rem; font-size: .9rem; }
nav h2 { margin: 0 0 .5rem; font-size: .85rem; color: var(--pale); }
nav ul { margin: 0; padding: 0; list-style: none; }
nav li { margin: .3rem 0; }
nav ul ul { display: none; }

.findings { margin: 0 0 1.6rem; padding: 0; list-style: none; }
.findings li { margin: .75rem 0; padding-left: 1rem; border-left: 3px solid var(--accent); }
h3 a { color: inherit; }

.scroll {
  width: fit-content; max-width: 100%; overflow-x: auto;
  /* Shades at the edges where the table goes on: the covers move with the table, the shades do not. */
  background:
    linear-gradient(to right, var(--card) 40%, transparent) left / 2.5rem 100% no-repeat local,
    linear-gradient(to left, var(--card) 40%, transparent) right / 2.5rem 100% no-repeat local,
    linear-gradient(to right, var(--shade), transparent) left / .9rem 100% no-repeat scroll,
    linear-gradient(to left, var(--shade), transparent) right / .9rem 100% no-repeat scroll,
    var(--card);
}
table { border-collapse: collapse; font-size: .86rem; line-height: 1.4; }
table { font-variant-numeric: tabular-nums; }
th, td { padding: .45rem .65rem; text-align: left; white-space: nowrap; vertical-align: baseline; }
th { border-bottom: 1px solid var(--line); color: var(--pale); font-weight: 600; }
th { vertical-align: bottom; white-space: normal; }
td { border-bottom: 1px solid var(--line); }
tr:last-child td { border-bottom: 0; }
.number { text-align: right; }
.long { min-width: 17rem; white-space: normal; }

figure { margin: 1.2rem 0 2rem; }
img { display: block; max-width: 100%; height: auto; background: #fff; }
img, .scroll, .sample { border: 1px solid var(--line); border-radius: 6px; }

dl { margin: 0; }
dd { margin: 0; min-width: 0; overflow-wrap: anywhere; }
.sample { margin: 1rem 0; padding: .8rem 1rem; background: var(--card); }
.sample div { display: grid; grid-template-columns: 13rem 1fr; gap: 0 1.2rem; padding: .15rem 0; }
.sample div { align-items: baseline; }
.sample div:nth-child(2) { margin-bottom: .4rem; padding-bottom: .5rem; border-bottom: 1px solid var(--line); }
dt { color: var(--pale); font-size: .82rem; }
mark { background: none; color: inherit; text-decoration: underline 2px var(--accent); text-underline-offset: .22em; }
.side-by-side { display: grid; gap: 1.4rem 2.4rem; }
.side-by-side { grid-template-columns: repeat(auto-fit, minmax(min(100%, 19rem), 1fr)); }
.fields { font-size: .86rem; line-height: 1.45; }
.fields div { display: grid; grid-template-columns: minmax(7rem, 2fr) 3fr; gap: 1rem; padding: .3rem 0; }
.fields div { border-top: 1px solid var(--line); }
.side-by-side + h4 { margin-top: 1.4rem; }
.signatures { margin: 0; padding: 0; list-style: none; overflow-wrap: anywhere; }

@media (max-width: 40rem) {
  body { font-size: 1rem; }
  .sample div { grid-template-columns: 1fr; padding: .3rem 0; }
}
@media screen and (min-width: 70rem) {
  body { display: grid; grid-template-columns: 13.5rem minmax(0, 1fr); gap: 0 2.8rem; padding: 0 2rem 5rem; }
  header { grid-column: 1 / -1; }
  nav { position: sticky; top: 0; align-self: start; max-height: 100vh; overflow-y: auto; }
  nav { padding: 2.6rem 0 2rem; font-size: .84rem; }
  nav ul ul { display: block; margin: 0 0 .7rem; padding-left: .8rem; border-left: 1px solid var(--line); }
  nav ul ul a { color: var(--pale); }
  nav li { line-height: 1.4; }
}
@media print {
  :root { --paper: #fff; --card: #fff; --ink: #000; --pale: #444; --line: #bbb; --accent: #000; --shade: transparent; }
  @page { margin: 16mm; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  img { filter: none; }
  .scroll { overflow: visible; border: 0; background: none; }
  th, td { padding: .3rem .45rem; white-space: normal; }
  h2, h3, h4 { break-after: avoid; }
  figure, .sample, tr { break-inside: avoid; }
  thead { display: table-header-group; }
}
)css";

}  // namespace headshare::cli
