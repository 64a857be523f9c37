#include "cli/lab/attention_change.h"

#include <algorithm>
#include <numeric>

#include "core/report/progress.h"

namespace headshare::cli {
namespace {

Tensor head_of(const Tensor& weights, Size head) {  // [T, S] of [H, T, S]
  return weights.slice(0, head, head + 1).reshape(weights.shape().without(0));
}

// Mean distances between all heads of two models at one site of one layer, or of one model.
class DistanceTable {
 public:
  DistanceTable(const std::vector<AttentionWeights>& a, const std::vector<AttentionWeights>& b,
                const PicturedSite& site, std::size_t layer)
      : heads_(a[0].at(site.site)[layer].extent(0)), distances_(static_cast<std::size_t>(heads_ * heads_), 0.0) {
    for (std::size_t i = 0; i < a.size(); ++i)
      for (Size x = 0; x < heads_; ++x)
        for (Size y = 0; y < heads_; ++y)
          distances_[static_cast<std::size_t>(x * heads_ + y)] +=
              total_variation(head_of(a[i].at(site.site)[layer], x), head_of(b[i].at(site.site)[layer], y)) /
              static_cast<double>(a.size());
  }
  Size heads() const { return heads_; }
  double operator()(Size x, Size y) const { return distances_[static_cast<std::size_t>(x * heads_ + y)]; }

 private:
  Size heads_;
  std::vector<double> distances_;
};

// counterpart[head after] is a head before; distances: from heads before to heads after.
std::vector<Size> counterparts(const DistanceTable& distances) {
  std::vector<Size> counterpart(static_cast<std::size_t>(distances.heads()));
  std::iota(counterpart.begin(), counterpart.end(), Size{0});
  for (bool traded = true; traded;) {  // ends: every trade lowers the sum
    traded = false;
    for (std::size_t x = 0; x < counterpart.size(); ++x)
      for (std::size_t y = 0; y < x; ++y) {
        const Size of_x = counterpart[x], of_y = counterpart[y], head_x = static_cast<Size>(x),
                   head_y = static_cast<Size>(y);
        if (distances(of_y, head_x) + distances(of_x, head_y) + 1e-9 <
            distances(of_x, head_x) + distances(of_y, head_y)) {
          std::swap(counterpart[x], counterpart[y]);
          traded = true;
        }
      }
  }
  return counterpart;
}

// Mean distance of the head at `place` in `order` from those at the other places of the group.
double distance_from_group(const DistanceTable& distances, Size place, const HeadGroup& group,
                           const std::vector<Size>& order) {
  const auto head_at = [&](Size at) { return order[static_cast<std::size_t>(at)]; };
  double sum = 0;
  for (Size other = group.first; other < group.end; ++other)
    if (other != place) sum += distances(head_at(place), head_at(other));
  return group.end - group.first > 1 ? sum / static_cast<double>(group.end - group.first - 1) : 0;
}

void check_alike(const TransformerConfig& before, const TransformerConfig& config) {
  if (before.layers != config.layers)
    fail("lab attention: models with ", before.layers, " and ", config.layers, " layers cannot be compared");
  for (const PicturedSite& site : pictured_sites())
    for (Size layer = 0; layer < config.layers; ++layer) {
      const Size heads_before = before.sites(layer).at(site.site).heads,
                 heads = config.sites(layer).at(site.site).heads;
      if (heads_before != heads)
        fail("lab attention: models with ", heads_before, " and ", heads, " query heads cannot be compared");
    }
}

struct Means {
  double moved = 0, apart = 0, apart_before = 0;
  const HeadDistances* most_moved = nullptr;
};
Means means_of(std::span<const HeadDistances> heads) {
  Means means;
  const double count = static_cast<double>(heads.size());
  for (const HeadDistances& head : heads) {
    means.moved += head.moved / count;
    means.apart += head.apart / count;
    means.apart_before += head.apart_before / count;
    if (means.most_moved == nullptr || head.moved > means.most_moved->moved) means.most_moved = &head;
  }
  return means;
}

// Neighbours in the list for which same(first, next) holds, one after the other.
template <class Same, class Use>
void for_each_run(std::span<const HeadDistances> heads, const Same& same, const Use& use) {
  for (std::size_t begin = 0, end = 0; begin < heads.size(); begin = end) {
    while (end < heads.size() && same(heads[begin], heads[end])) ++end;
    use(heads.subspan(begin, end - begin));
  }
}

std::string number(double distance) { return with_decimals(distance, 2); }

std::string finding(std::span<const HeadDistances> heads, const std::string& before, const std::string& run) {
  const Means means = means_of(heads);
  const bool shared = std::any_of(heads.begin(), heads.end(), [](const auto& head) { return head.group.shared; });
  const std::string together = shared ? "heads that share keys and values" : "heads of a layer";
  if (before.empty())
    return text(run, ", ", heads[0].site->name, ": ", together, " look ", number(means.apart), " apart.");
  const auto others = std::count_if(heads.begin(), heads.end(), [](const auto& h) { return h.head != h.head_before; });
  const std::string traded =
      others == 0 ? "" : text(", ", others, " of ", heads.size(), " heads compared with one of another number before");
  const HeadDistances& most = *means.most_moved;
  const std::string moved =
      number(most.moved) == number(0)
          ? "no head's attention moved"
          : text("the attention of a head moved by ", number(means.moved), " on average, most in layer ",
                 most.layer + 1, ", head ", most.head + 1, " (", number(most.moved), ")", traded);
  return text(run, " against ", before, ", ", heads[0].site->name, ": ", moved, "; ", together, " look ",
              number(means.apart), " apart, before it was ", number(means.apart_before), ".");
}

}  // namespace

std::vector<HeadDistances> head_distances(const Transformer& before, const Transformer& model,
                                          std::span<const TokenPair> pairs, std::span<const PicturedSite> sites) {
  check_alike(before.config(), model.config());
  std::vector<AttentionWeights> old_weights, new_weights;
  for (const TokenPair& pair : pairs) {
    old_weights.push_back(attention_weights(before, pair.source, pair.target));
    new_weights.push_back(attention_weights(model, pair.source, pair.target));
  }
  std::vector<HeadDistances> all;
  for (const PicturedSite& site : sites)
    for (Size layer = 0; layer < model.config().layers; ++layer) {
      const auto index = static_cast<std::size_t>(layer);
      const DistanceTable moved(old_weights, new_weights, site, index),
          old_apart(old_weights, old_weights, site, index), new_apart(new_weights, new_weights, site, index);
      const std::vector<Size> counterpart = counterparts(moved);
      std::vector<Size> own(counterpart.size());
      std::iota(own.begin(), own.end(), Size{0});
      for (const HeadGroup& group : head_groups(model.config().sites(layer).at(site.site)))
        for (Size head = group.first; head < group.end; ++head) {
          const Size head_before = counterpart[static_cast<std::size_t>(head)];
          all.push_back({&site, layer, head, group, head_before, distance_from_group(new_apart, head, group, own),
                         distance_from_group(old_apart, head, group, counterpart), moved(head_before, head)});
        }
    }
  return all;
}

HeadOrder order_before(std::span<const HeadDistances> distances) {
  HeadOrder order;
  for (const HeadDistances& head : distances) order[{head.site->name, head.layer}].push_back(head.head_before);
  return order;
}

void report_distances(std::span<const HeadDistances> distances, const std::string& before, const std::string& run,
                      LabResult& result) {
  const bool alone = before.empty();
  for (const HeadDistances& head : distances) {
    nlohmann::ordered_json row = {{"run", run},
                                  {"before", before},
                                  {"site", head.site->name},
                                  {"layer", head.layer + 1},
                                  {"head", head.head + 1},
                                  {"group", text(head.group.first + 1, "-", head.group.end)},
                                  {"apart", head.apart}};
    if (!alone) {
      row["head_before"] = head.head_before + 1;
      row["apart_before"] = head.apart_before;
      row["moved"] = head.moved;
    }
    result.rows.push_back(std::move(row));
  }

  LabResult::Table table{.title = alone ? text("How differently the heads of ", run, " look")
                                        : text("How the attention of ", run, " differs from that of ", before),
                         .note =
                             "Distances are total variations, mean over words: 0 for heads that look at the same, 1 "
                             "for heads that never do. Apart: the heads of the line from each other.",
                         .columns = {{"site"}, {"layer", Alignment::right}, {"heads"}, {"apart", Alignment::right}},
                         .rows = {}};
  if (!alone)
    for (const char* header : {"apart before", "moved", "each head moved"})
      table.columns.push_back({header, Alignment::right});
  const auto same_group = [](const HeadDistances& a, const HeadDistances& b) {
    return a.site == b.site && a.layer == b.layer && a.group.first == b.group.first;
  };
  for_each_run(distances, same_group, [&](std::span<const HeadDistances> heads) {
    const Means means = means_of(heads);
    std::vector<std::string> row = {heads[0].site->name, std::to_string(heads[0].layer + 1), heads[0].group.name,
                                    number(means.apart)};
    if (!alone) {
      std::string each;
      for (const HeadDistances& head : heads) each += (each.empty() ? "" : " ") + number(head.moved);
      row.insert(row.end(), {number(means.apart_before), number(means.moved), each});
    }
    table.rows.push_back(std::move(row));
  });
  result.tables.push_back(std::move(table));

  const auto same_site = [](const HeadDistances& a, const HeadDistances& b) { return a.site == b.site; };
  for_each_run(distances, same_site,
               [&](std::span<const HeadDistances> heads) { result.findings.push_back(finding(heads, before, run)); });
}

}  // namespace headshare::cli
