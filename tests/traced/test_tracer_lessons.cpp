#include "tests/traced/lessons.h"
#include "tests/traced/traced_helpers.h"

// Sectors and bank conflicts of access patterns that can be counted by hand.

using namespace headshare;
using namespace headshare::test;
using simulator::AccessKind;
using simulator::LaunchReport;
using simulator::Site;
using simulator::Space;

namespace {

const kernels::Cuda device = kernels::cuda();
constexpr int n = 4096;  // floats copied: 128 warps of 32
constexpr std::uint64_t warps = n / 32;

// The one site of this kind and space.
Site site(const LaunchReport& report, Space space, AccessKind kind) {
  for (const Site& site : report.sites)
    if (site.space == space && site.kind == kind) return site;
  FAIL("no such access in " << report.kernel);
  return {};
}

struct Lesson {
  NamedArray<float> x = counting("x", n), y{"y", n};
  template <class Copy, class... Arguments>
  LaunchReport run(const Copy& copy, Arguments... arguments) {
    copy(device, x.data(), y.data(), arguments...);
    return simulator::last_launch();
  }
};

}  // namespace

TEST_CASE("a coalesced copy moves four sectors per warp") {
  const LaunchReport report = Lesson().run(copy_coalesced, n);
  for (const AccessKind kind : {AccessKind::load, AccessKind::store}) {
    const Site counted = site(report, Space::global, kind);
    CHECK(counted.requests == warps);
    CHECK(counted.lanes == 32 * warps);
    CHECK(counted.sectors == 4 * warps);
    CHECK(counted.least_sectors == 4 * warps);
  }
  CHECK(report.sites.size() == 2);
  CHECK(report.threads == n);
  CHECK(report.efficiency() == 1);
  CHECK(report.moved_bytes() == 2 * 4 * n);
  CHECK(report.array("x").requested_load_bytes == 4 * n);
  CHECK(report.array("x").moved_store_bytes == 0);
  CHECK(report.array("y").moved_store_bytes == 4 * n);
  CHECK(report.array("z").moved_load_bytes == 0);
}

TEST_CASE("a copy with a step of 32 moves a sector for every lane") {
  const LaunchReport report = Lesson().run(copy_strided, n, 32);
  CHECK(site(report, Space::global, AccessKind::load).sectors == 32 * warps);
  CHECK(site(report, Space::global, AccessKind::load).least_sectors == 4 * warps);
  CHECK(report.efficiency() == 0.125);
  CHECK(report.moved_bytes() == 8 * report.requested_bytes());
  CHECK(to_text(report).find("<- not coalesced") != std::string::npos);
}

TEST_CASE("a copy with a step of 2 moves twice what it needs") {
  CHECK(Lesson().run(copy_strided, n, 2).efficiency() == 0.5);
}

TEST_CASE("a value that all lanes want is moved once") {
  const LaunchReport report = Lesson().run(copy_broadcast, n);
  CHECK(site(report, Space::global, AccessKind::load).sectors == warps);
  CHECK(report.array("x").requested_load_bytes == 4 * n);
  CHECK(report.array("x").moved_load_bytes == 32 * warps);
  CHECK(report.efficiency() == 1);
}

TEST_CASE("vectors of four need a quarter of the requests") {
  const LaunchReport report = Lesson().run(copy_vectors, n);
  const Site load = site(report, Space::global, AccessKind::load);
  CHECK(report.sites.size() == 2);
  CHECK(load.bytes == 16);
  CHECK(load.requests == warps / 4);
  CHECK(load.sectors == 4 * warps);
  CHECK(report.efficiency() == 1);
}

TEST_CASE("lanes that are switched off ask for nothing") {
  const LaunchReport report = Lesson().run(copy_coalesced, 33);
  const Site load = site(report, Space::global, AccessKind::load);
  CHECK(load.requests == 2);
  CHECK(load.lanes == 33);
  CHECK(load.sectors == 5);
}

TEST_CASE("the transposition: uncoalesced, then with bank conflicts, then right") {
  constexpr std::uint64_t tile_warps = 64 * 64 / 32;
  const LaunchReport naive = Lesson().run(transpose_naive, 64);
  CHECK(site(naive, Space::global, AccessKind::load).sectors == 4 * tile_warps);
  CHECK(site(naive, Space::global, AccessKind::store).sectors == 32 * tile_warps);
  CHECK(naive.bank_conflicts() == 0);

  const LaunchReport shared = Lesson().run(transpose_shared, 64);
  CHECK(shared.kernel == "transpose_shared_kernel<0>");
  CHECK(shared.barriers == 4);
  CHECK(shared.efficiency() == 1);
  CHECK(site(shared, Space::shared, AccessKind::store).passes == tile_warps);
  CHECK(site(shared, Space::shared, AccessKind::load).passes == 32 * tile_warps);
  CHECK(site(shared, Space::shared, AccessKind::load).array == "tile");
  CHECK(shared.bank_conflicts() == 31 * tile_warps);
  CHECK(to_text(shared).find("<- bank conflicts") != std::string::npos);

  const LaunchReport padded = Lesson().run(transpose_padded, 64);
  CHECK(padded.efficiency() == 1);
  CHECK(site(padded, Space::shared, AccessKind::load).passes == tile_warps);
  CHECK(padded.bank_conflicts() == 0);
}
