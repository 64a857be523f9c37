#include <doctest/doctest.h>

#include <numeric>

#include "nn/alignment.h"
#include "nn/conversion.h"
#include "nn/subspace.h"
#include "tensor/reduce.h"
#include "tensor/singular_values.h"
#include "tests/model_helpers.h"

// Conversions that look at what a model computes: their statistics against plain loops, foldings that change nothing,
// and heads that are the same in other coordinates, which only these conversions recognise.

using namespace headshare;
using namespace headshare::test;

namespace {

constexpr TensorOptions exact{ElementType::float64, Device::cpu};

EncodedCorpus some_text(Size pairs = 30) {
  std::vector<Size> lengths;
  for (Size i = 0; i < pairs; ++i) lengths.push_back(3 + i % 7);
  return random_pairs(lengths, 11, 5);
}

TransformerConfig config_of(Size heads, Size kv_heads, NormPlacement norm = NormPlacement::post) {
  TransformerConfig config = tiny_config(11, grouped_query(heads, kv_heads));
  config.layers = 2;
  config.norm = norm;
  return config;
}

Transformer disturbed(const TransformerConfig& config,
                      TensorOptions options = {ElementType::float64, default_device()}) {
  Transformer model(config, 3, options);
  disturb(model, 4);
  return model;
}

Tensor random_matrix(Size n, std::uint64_t seed) {
  Generator generator(seed);
  return random_normal({n, n}, 1, generator, exact);
}

Tensor inverse(const Tensor& a) {
  const SingularValues parts = singular_values(a);
  return matmul(divide(parts.v, parts.values), parts.u.transpose(0, 1));
}

// The same model in other coordinates: head h's keys and values times a matrix of its own, undone in its queries and
// its rows of W_O; head h moves to place[h].
enum class Coordinates { turned, stretched };
Transformer in_other_coordinates(const Transformer& model, const std::vector<Size>& place, Coordinates coordinates) {
  Transformer changed = clone(model);
  const std::vector<NamedAttention> before = attentions_of(model), after = attentions_of(changed);
  std::uint64_t seed = 100;
  for (std::size_t i = 0; i < before.size(); ++i) {
    const Attention& attention = *before[i].attention;
    const Size H = attention.mode.heads, D = attention.head_size();
    HeadFolding folding{zeros({H * D, H * D}, exact),
                        Tensor({H, D, D}, exact),
                        zeros({H * D, H * D}, exact),
                        Tensor({H, D, D}, exact),
                        {},
                        std::vector<Size>(place.size())};
    for (Size h = 0; h < H; ++h) {
      const Size to = place[static_cast<std::size_t>(h)];
      Tensor key = nearest_orthogonal(random_matrix(D, ++seed)), value = nearest_orthogonal(random_matrix(D, ++seed));
      if (coordinates == Coordinates::stretched) {
        const Tensor factors = from_values<double>({0.5, 0.8, 1.3, 2}, {4}, Device::cpu);
        key = matmul(multiply(key, factors), key), value = matmul(multiply(value, factors), value);
      }
      head_columns(head_rows(folding.key, h, D), to, D).copy_from(key);
      head_columns(head_rows(folding.value, h, D), to, D).copy_from(value);
      folding.query.slice(0, to, to + 1).copy_from(inverse(key).transpose(0, 1).contiguous().reshape({1, D, D}));
      folding.output.slice(0, to, to + 1).copy_from(inverse(value).reshape({1, D, D}));
      folding.order[static_cast<std::size_t>(to)] = h;
    }
    fold_heads(attention, folding, *after[i].attention);
  }
  return changed;
}

// Four heads in two groups; both heads of a group have the same keys and values.
Transformer model_with_equal_heads() {
  Transformer model = disturbed(config_of(4, 4));
  for (const auto& [name, value] : parameters_of(model))
    if (name.find(".key.") != std::string::npos || name.find(".value.") != std::string::npos)
      for (const Size head : {0, 2}) head_columns(value, head + 1, 4).copy_from(head_columns(value, head, 4).clone());
  return model;
}

double change(const Transformer& a, const Transformer& b) { return difference(logits_of(a), logits_of(b)); }

}  // namespace

TEST_CASE("statistics are the sums that their definition says") {
  const Transformer model = disturbed(config_of(4, 2));
  const EncodedCorpus text = some_text(3);
  const Calibration calibration = calibrate(model, text);
  CHECK(calibration.size() == 6);
  const std::string name = "decoder.1.cross";
  const HeadStatistics& statistics = calibration.at(name);
  const Size H = 4, G = 2, D = 4, width = G * D;

  // Plain loops over every sentence, query and key.
  std::vector<double> queries(64), keys(64), sums(32), squares(256);
  double count = 0;
  const AttentionObserver observer([&](const Attention& attention, const Variable& q, const KeysValues& kv,
                                       const Mask&) {
    if (&attention != &model.decoder()[1].cross) return;
    const Size T = q.extent(1), S = kv.key.extent(1);
    const auto key = [&](Size s, Size i) { return kv.key.value().at({0, s, i / D, i % D}); };
    const auto value = [&](Size s, Size i) { return kv.value.value().at({0, s, i / D, i % D}); };
    std::vector<double> key_mean(8);
    for (Size i = 0; i < width; ++i)
      for (Size s = 0; s < S; ++s) key_mean[static_cast<std::size_t>(i)] += key(s, i) / static_cast<double>(S);
    for (Size s = 0; s < S; ++s)
      for (Size i = 0; i < width; ++i)
        for (Size j = 0; j < width; ++j)
          keys[static_cast<std::size_t>(i * width + j)] +=
              (key(s, i) - key_mean[static_cast<std::size_t>(i)]) * (key(s, j) - key_mean[static_cast<std::size_t>(j)]);
    for (Size t = 0; t < T; ++t, ++count)
      for (Size h = 0; h < H; ++h) {
        const auto query = [&](Size d) { return q.value().at({0, t, h, d}); };
        for (Size i = 0; i < D; ++i)
          for (Size j = 0; j < D; ++j) queries[static_cast<std::size_t>((h * D + i) * D + j)] += query(i) * query(j);
        std::vector<double> weight;
        double total = 0;
        for (Size s = 0; s < S; ++s) {
          double score = 0;
          for (Size d = 0; d < D; ++d) score += query(d) * key(s, h / 2 * D + d) / 2;  // sqrt(D) = 2
          weight.push_back(std::exp(score));
          total += weight.back();
        }
        std::vector<double> seen(8);
        for (Size i = 0; i < width; ++i)
          for (Size s = 0; s < S; ++s)
            seen[static_cast<std::size_t>(i)] += weight[static_cast<std::size_t>(s)] / total * value(s, i);
        for (Size i = 0; i < width; ++i) {
          sums[static_cast<std::size_t>(h * width + i)] += seen[static_cast<std::size_t>(i)];
          for (Size j = 0; j < width; ++j)
            squares[static_cast<std::size_t>((h * width + i) * width + j)] +=
                seen[static_cast<std::size_t>(i)] * seen[static_cast<std::size_t>(j)];
        }
      }
  });
  const NoGradient no_gradient;
  Dropout none = Dropout::none();
  for (Size i = 0; i < 3; ++i) {
    const std::vector<Size> member = {i};
    const Batch batch = make_batch(text.pairs, member, default_device());
    const Variable memory = model.encode(batch.source.tokens, batch.source.lengths, none);
    model.decode(batch.target_input, memory, batch.source.lengths, none);
  }
  for (Size h = 0; h < H; ++h)
    for (Size i = 0; i < width; ++i) {
      const double mean = sums[static_cast<std::size_t>(h * width + i)] / count;
      CHECK(statistics.attended_mean.at({h, i}) == doctest::Approx(mean).epsilon(1e-10));
      for (Size j = 0; j < width; ++j)
        squares[static_cast<std::size_t>((h * width + i) * width + j)] -=
            mean * sums[static_cast<std::size_t>(h * width + j)];
    }
  CHECK(difference(statistics.queries, from_values(queries, {H, D, D}, Device::cpu)) < 1e-10);
  CHECK(difference(statistics.keys, from_values(keys, {width, width}, Device::cpu)) < 1e-10);
  CHECK(difference(statistics.attended, from_values(squares, {H, width, width}, Device::cpu)) < 1e-10);
}

TEST_CASE("folding an alignment into the weights alone leaves the logits as they are") {
  for (const NormPlacement norm : {NormPlacement::post, NormPlacement::pre})
    for (const auto& [before, after] : {std::pair<Size, Size>{4, 2}, {4, 1}, {2, 1}}) {
      CAPTURE(before);
      CAPTURE(after);
      const Transformer model = disturbed(config_of(4, before, norm));
      const Transformer aligned = align_heads(model, grouped_query(4, after), calibrate(model, some_text()));
      CHECK(change(model, aligned) < 1e-10);
      CHECK(difference(parameter_of(model, "decoder.0.cross.key.weight"),
                       parameter_of(aligned, "decoder.0.cross.key.weight")) > 1e-2);  // it did turn them
      const Transformer single = disturbed(config_of(4, before, norm), {ElementType::float32, default_device()});
      CHECK(change(single, align_heads(single, grouped_query(4, after), calibrate(single, some_text()))) < 1e-4);
    }
}

TEST_CASE("heads that are equal in other coordinates: which conversions recognise them") {
  const Transformer plain = model_with_equal_heads();
  const EncodedCorpus text = some_text();
  const AttentionMode two = grouped_query(4, 2);
  CHECK(change(plain, convert_attention(plain, two)) < 1e-10);  // side by side and equal: the mean is right

  const Transformer turned = in_other_coordinates(plain, {0, 2, 1, 3}, Coordinates::turned);
  CHECK(change(plain, turned) < 1e-10);
  const Calibration of_turned = calibrate(turned, text);
  CHECK(change(plain, convert_attention(turned, two)) > 1e-2);
  CHECK(change(plain, convert_attention(turned, two, Pooling::aligned, 1, of_turned)) < 1e-6);

  // Stretched as well as turned: no rotation makes them equal, but they still need the same directions.
  const Transformer stretched = in_other_coordinates(plain, {0, 1, 2, 3}, Coordinates::stretched);
  CHECK(change(plain, stretched) < 1e-9);
  const Calibration of_stretched = calibrate(stretched, text);
  CHECK(change(plain, convert_attention(stretched, two)) > 1e-2);
  CHECK(change(plain, convert_attention(stretched, two, Pooling::aligned, 1, of_stretched)) > 1e-2);
  CHECK(change(plain, convert_attention(stretched, two, Pooling::subspace, 1, of_stretched)) <
        1e-5);  // roots() has a floor
}

TEST_CASE("of a model whose heads differ, the subspace keeps more than the mean") {
  const Transformer model = disturbed(config_of(4, 4));
  const Calibration calibration = calibrate(model, some_text());
  const EncodedCorpus text = some_text();
  const auto harm = [&](Size kv_heads, Pooling pooling) {
    const Transformer converted = convert_attention(model, grouped_query(4, kv_heads), pooling, 1, calibration);
    return std::abs(validation_nll(converted, text) - validation_nll(model, text));
  };
  for (const Size kv_heads : {2, 1}) CHECK(harm(kv_heads, Pooling::subspace) < harm(kv_heads, Pooling::mean));
  for (const Pooling pooling : {Pooling::aligned, Pooling::subspace})
    CHECK(first_difference(convert_attention(model, multi_head(4), pooling, 1, calibration), model) == "");
}

TEST_CASE("only the heads of converted attentions change") {
  const Transformer model = disturbed(config_of(4, 4));
  const AttentionSites cross_only(multi_head(4), multi_head(4), multi_query(4));
  const Calibration calibration = calibrate(model, some_text());
  for (const Pooling pooling : {Pooling::aligned, Pooling::subspace}) {
    const Transformer converted = convert_attention(model, cross_only, pooling, 1, calibration);
    for (const auto& [name, value] : parameters_of(converted)) {
      CAPTURE(name);
      const Tensor before = parameter_of(model, name);
      const bool is_cross = name.find(".cross.") != std::string::npos && name.find(".output.bias") == std::string::npos;
      if (name.find(".cross.output.bias") == std::string::npos)
        CHECK((value.shape() == before.shape() && same_bits(value, before)) == !is_cross);
    }
  }
}

TEST_CASE("similar heads come together, whatever their order") {
  // 0, 3, 4 belong together, and 1, 2, 5.
  const Tensor similarity = zeros({6, 6}, exact);
  const std::vector<int> kind = {0, 1, 1, 0, 0, 1};
  for (Size i = 0; i < 6; ++i)
    for (Size j = 0; j < 6; ++j)
      similarity.set({i, j}, kind[static_cast<std::size_t>(i)] == kind[static_cast<std::size_t>(j)] ? 0.9 : 0.2);
  std::vector<std::vector<Size>> groups = group_similar_heads(similarity, 2);
  for (std::vector<Size>& group : groups) std::sort(group.begin(), group.end());
  std::sort(groups.begin(), groups.end());
  CHECK(groups == std::vector<std::vector<Size>>{{0, 3, 4}, {1, 2, 5}});
  CHECK(group_similar_heads(similarity, 6).size() == 6);
  CHECK(group_similar_heads(similarity, 1)[0] == std::vector<Size>{0, 1, 2, 3, 4, 5});
}

TEST_CASE("a conversion that needs text says so") {
  const Transformer model = disturbed(config_of(4, 4));
  for (const Pooling pooling : {Pooling::aligned, Pooling::subspace})
    CHECK_THROWS_WITH_AS(convert_attention(model, multi_query(4), pooling), doctest::Contains("calibration text"),
                         Error);
  CHECK_THROWS_WITH_AS(calibrate(model, EncodedCorpus{}), doctest::Contains("at least one sentence pair"), Error);
}

TEST_CASE("moments of heads in new coordinates start afresh, all others are kept") {
  const Transformer model = disturbed(config_of(4, 4));
  const AttentionSites cross_only(multi_head(4), multi_head(4), multi_query(4));
  const Transformer converted =
      convert_attention(model, cross_only, Pooling::subspace, 1, calibrate(model, some_text()));
  Moments before;
  std::uint64_t seed = 50;
  for (const auto& [name, value] : parameters_of(model)) {
    before.means[name] = random_tensor(value.shape(), ++seed);
    before.variances[name] = square(random_tensor(value.shape(), ++seed));
  }
  const Moments after = convert_moments(before, model, converted, Pooling::subspace);
  Size fresh = 0;
  for (const auto& [name, value] : parameters_of(converted)) {
    CAPTURE(name);
    REQUIRE(after.means.at(name).shape() == value.shape());
    const Tensor &mean_after = after.means.at(name), &variance_after = after.variances.at(name);
    if (name.find(".cross.") == std::string::npos) {
      CHECK(same_bits(mean_after, before.means.at(name)));
      CHECK(same_bits(variance_after, before.variances.at(name)));
      continue;
    }
    ++fresh;
    const Tensor& variance_before = before.variances.at(name);
    // Four heads' moments are summed into one, then spread.
    const double heads = static_cast<double>(variance_before.count()) / static_cast<double>(value.count());
    CHECK(difference(mean_after, zeros(value.shape(), mean_after.options())) == 0);
    CHECK(difference(variance_after,
                     full(value.shape(), heads * mean(variance_before).item(), variance_after.options())) < 1e-12);
  }
  CHECK(fresh == 2 * 8);  // layers; query, key, value and output, each a weight and a bias
}
