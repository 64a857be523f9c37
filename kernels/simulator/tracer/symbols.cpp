#include "kernels/simulator/tracer/symbols.h"

#include <cxxabi.h>
#include <elf.h>
#include <link.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <sstream>
#include <unordered_map>

namespace headshare::simulator::tracer {
namespace {

// ---- Where the program lies in memory -------------------------------------------------------------------------------
struct Layout {
  std::uintptr_t base = 0;  // what the loader added to the addresses of the file
  AddressRange program, thread_locals;
};

int read_layout(dl_phdr_info* information, std::size_t, void* result) {
  Layout& layout = *static_cast<Layout*>(result);
  layout.base = information->dlpi_addr;
  layout.thread_locals.begin = reinterpret_cast<std::uintptr_t>(information->dlpi_tls_data);
  for (int i = 0; i < information->dlpi_phnum; ++i) {
    const auto& segment = information->dlpi_phdr[i];
    if (segment.p_type == PT_TLS) layout.thread_locals.end = layout.thread_locals.begin + segment.p_memsz;
    if (segment.p_type != PT_LOAD) continue;
    const std::uintptr_t begin = layout.base + segment.p_vaddr;
    if (layout.program.begin == 0) layout.program.begin = begin;
    layout.program.end = std::max<std::uintptr_t>(layout.program.end, begin + segment.p_memsz);
  }
  return 1;  // the first one is the program itself; its libraries do not matter here
}

Layout layout() {
  Layout layout;
  dl_iterate_phdr(&read_layout, &layout);
  return layout;
}

// ---- Names ----------------------------------------------------------------------------------------------------------
std::string readable(const char* symbol) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> name(abi::__cxa_demangle(symbol, nullptr, nullptr, &status),
                                                         &std::free);
  return name ? name.get() : symbol;
}

bool in_name(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

// "a::b<c::d>" -> "b<d>": names without the namespaces around them.
std::string without_namespaces(std::string name) {
  constexpr const char* unnamed = "(anonymous namespace)::";
  for (std::size_t at = name.find(unnamed); at != std::string::npos; at = name.find(unnamed))
    name.erase(at, std::strlen(unnamed));
  for (std::size_t at = name.find("::"); at != std::string::npos; at = name.find("::", at)) {
    std::size_t begin = at;
    while (begin > 0 && in_name(name[begin - 1])) --begin;
    if (begin == at) {  // behind a bracket: it belongs to a function or a template
      at += 2;
      continue;
    }
    name.erase(begin, at + 2 - begin);
    at = begin;
  }
  return name;
}

// "void a::kernel<float>(long, float*)" -> "kernel<float>".
std::string short_function(const std::string& symbol) {
  std::string name = without_namespaces(symbol);
  int depth = 0;
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (name[i] == '<') ++depth;
    if (name[i] == '>') --depth;
    if (depth == 0 && name[i] == '(') name.resize(i);
  }
  return name.starts_with("void ") ? name.substr(5) : name;
}

// "a::kernel<float>(long, float*)::tile" -> "tile".
std::string short_variable(const std::string& symbol) {
  const std::size_t path = symbol.rfind("::");
  return path == std::string::npos ? symbol : symbol.substr(path + 2);
}

struct Function {
  std::uintptr_t begin;
  std::string symbol;
};

struct Symbols {
  std::vector<ThreadLocal> thread_locals;
  std::vector<Function> functions;  // in the order of their addresses in the file
};

Symbols read_symbols() {
  Symbols symbols;
  std::ifstream file("/proc/self/exe", std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  if (bytes.size() < sizeof(Elf64_Ehdr)) return symbols;
  const auto* const header = reinterpret_cast<const Elf64_Ehdr*>(bytes.data());
  const auto* const sections = reinterpret_cast<const Elf64_Shdr*>(bytes.data() + header->e_shoff);
  for (int i = 0; i < header->e_shnum; ++i) {
    if (sections[i].sh_type != SHT_SYMTAB) continue;
    const auto* const table = reinterpret_cast<const Elf64_Sym*>(bytes.data() + sections[i].sh_offset);
    const char* const names = bytes.data() + sections[sections[i].sh_link].sh_offset;
    for (std::size_t k = 0; k < sections[i].sh_size / sizeof(Elf64_Sym); ++k) {
      const char* const name = names + table[k].st_name;
      const int type = ELF64_ST_TYPE(table[k].st_info);
      if (type == STT_FUNC && table[k].st_size > 0) symbols.functions.push_back({table[k].st_value, name});
      if (type == STT_TLS && table[k].st_size > 0)
        symbols.thread_locals.push_back({table[k].st_value, table[k].st_size, short_variable(readable(name))});
    }
  }
  std::sort(symbols.thread_locals.begin(), symbols.thread_locals.end(),
            [](const ThreadLocal& a, const ThreadLocal& b) { return a.offset < b.offset; });
  std::sort(symbols.functions.begin(), symbols.functions.end(),
            [](const Function& a, const Function& b) { return a.begin < b.begin; });
  return symbols;
}

const Symbols& symbols() {
  static const Symbols symbols = read_symbols();
  return symbols;
}

// ---- Lines ----------------------------------------------------------------------------------------------------------
constexpr const char* unknown_line = "unknown line";

std::unordered_map<const void*, std::string>& known_lines() {
  static std::unordered_map<const void*, std::string> lines;
  return lines;
}

// "/path/to/softmax.cu:40 (discriminator 3)" -> "softmax.cu:40".
std::string short_line(std::string line) {
  line = line.substr(0, line.find_first_of(" \n"));
  if (line.empty() || line[0] == '?') return unknown_line;
  return line.substr(line.rfind('/') + 1);  // npos + 1 is 0
}

// Asks addr2line, which comes with every compiler, once for all: starting it takes longer than an answer.
void look_up(const std::vector<const void*>& return_addresses) {
  const std::uintptr_t base = layout().base;
  std::ostringstream command;
  command << "addr2line -e /proc/" << getpid() << "/exe" << std::hex;
  for (const void* address : return_addresses)  // one byte before, or it would be the line after the call
    command << " 0x" << reinterpret_cast<std::uintptr_t>(address) - base - 1;
  command << " 2>/dev/null";
  FILE* const answers = popen(command.str().c_str(), "r");
  char line[4096];
  for (const void* address : return_addresses) {
    const bool answered = answers != nullptr && std::fgets(line, sizeof line, answers) != nullptr;
    known_lines()[address] = answered ? short_line(line) : unknown_line;
  }
  if (answers != nullptr) pclose(answers);
}

}  // namespace

const std::vector<ThreadLocal>& thread_locals() { return symbols().thread_locals; }
AddressRange thread_local_block() { return layout().thread_locals; }
AddressRange program() { return layout().program; }

std::string function_name(const void* address) {
  const std::uintptr_t in_file = reinterpret_cast<std::uintptr_t>(address) - layout().base;
  const auto& functions = symbols().functions;
  const auto found = std::lower_bound(functions.begin(), functions.end(), in_file,
                                      [](const Function& function, std::uintptr_t x) { return function.begin < x; });
  if (found == functions.end() || found->begin != in_file) return "kernel";
  return short_function(readable(found->symbol.c_str()));
}

std::vector<std::string> source_lines(const std::vector<const void*>& return_addresses) {
  std::vector<const void*> unknown;
  for (const void* address : return_addresses)
    if (!known_lines().contains(address)) unknown.push_back(address);
  if (!unknown.empty()) look_up(unknown);
  std::vector<std::string> lines;
  for (const void* address : return_addresses) lines.push_back(known_lines()[address]);
  return lines;
}

std::string source_line(const void* return_address) { return source_lines({return_address})[0]; }

}  // namespace headshare::simulator::tracer
