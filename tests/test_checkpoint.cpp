#include <doctest/doctest.h>

#include <functional>

#include "core/file.h"
#include "nn/checkpoint.h"
#include "nn/run.h"
#include "tests/model_helpers.h"

// Checkpoints: the same bits back, and every damaged, foreign or swapped file is one clear error.

using namespace headshare;
using namespace headshare::test;

namespace {

Transformer some_model(std::uint64_t seed = 1, TensorOptions options = {}) {
  TransformerConfig config = tiny_config(11, {multi_head(4), grouped_query(4, 2), multi_query(4)});
  config.layers = 2;
  Transformer model(config, seed, options);
  disturb(model, seed);
  return model;
}

// A file's parts, to be changed and written again.
struct Parts {
  std::vector<StoredTensor> tensors;
  Metadata metadata;
};
void rewrite(const std::filesystem::path& from, const std::filesystem::path& to,
             const std::function<void(Parts&)>& change) {
  const SafetensorsFile file = read_safetensors(from);
  Parts parts{file.tensors(), file.metadata()};
  change(parts);
  write_safetensors(to, parts.tensors, parts.metadata);
}

StoredTensor& find(Parts& parts, const std::string& name) {
  for (StoredTensor& tensor : parts.tensors)
    if (tensor.name == name) return tensor;
  fail("test: the file has no ", name);
}

}  // namespace

TEST_CASE("a model comes back from disk bit by bit, with its configuration and what else was kept") {
  const TemporaryFolder folder;
  std::vector<TransformerConfig> configs(3, tiny_config(11, grouped_query(4, 2)));
  configs[1].norm = NormPlacement::pre;
  configs[1].activation = Activation::gelu;
  configs[1].positions = Positions::learned;
  configs[2].layers = 2;
  configs[2].attention_per_layer = {multi_head(4), {multi_head(4), grouped_query(4, 2), multi_query(4)}};
  configs[2].dropout = 0.1 + 0.2;
  configs.push_back(tiny_config(11, {multi_head(4), local_window(with_head_size(grouped_query(6, 2), 5), 3),
                                     with_head_size(multi_query(2), 10)}));
  for (const TransformerConfig& config : configs)
    for (const ElementType type : {ElementType::float32, ElementType::float64}) {
      const Transformer model(config, 1, {type});
      disturb(model, 2);
      save_model(folder / "model.safetensors", model, {{"note", "a \"quoted\" line\n"}, {"model.layers", "not this"}});
      const LoadedModel loaded = load_model(folder / "model.safetensors");
      CHECK(first_difference(loaded.model, model) == "");
      CHECK(loaded.model.options().type == type);
      CHECK(to_metadata(loaded.model.config()) == to_metadata(model.config()));
      CHECK(loaded.metadata.at("note") == "a \"quoted\" line\n");
    }
  CHECK(load_model(folder / "model.safetensors").metadata.size() == to_metadata(configs.back()).size() + 1);
}

TEST_CASE("what a checkpoint says of its attention modes: nothing new unless a size or a window is set") {
  TransformerConfig config = tiny_config(11, {multi_head(4), grouped_query(4, 2), multi_query(4)});
  CHECK(to_metadata(config).at("model.attention") == "4/4 4/2 4/1");
  config.attention.decoder_self = local_window(with_head_size(grouped_query(8, 2), 16), 32);
  config.attention.cross = with_head_size(multi_query(2), 128);
  const Metadata metadata = to_metadata(config);
  CHECK(metadata.at("model.attention") == "4/4 8/2,size=16,window=32 2/1,size=128");
  CHECK(transformer_config(metadata).attention == config.attention);
}

TEST_CASE("a tensor that is missing, too many, or of another shape or type is named") {
  const TemporaryFolder folder;
  const auto good = folder / "good.safetensors", bad = folder / "bad.safetensors";
  save_model(good, some_model());
  const auto refused = [&](const std::string& message, const std::function<void(Parts&)>& change) {
    rewrite(good, bad, change);
    CHECK_THROWS_WITH_AS(load_model(bad), (bad.string() + ": " + message).c_str(), Error);
  };
  const std::string name = "decoder.1.cross.key.weight";
  refused("holds no tensor " + name + ", which a model of its configuration has",
          [&](Parts& parts) { std::erase_if(parts.tensors, [&](const StoredTensor& t) { return t.name == name; }); });
  refused("tensor " + name + " is [4, 16] float32, its configuration says [16, 4] float32", [&](Parts& parts) {
    find(parts, name).shape = {4, 16};
  });
  const std::vector<double> doubles(64);
  refused("tensor " + name + " is [16, 4] float64, its configuration says [16, 4] float32", [&](Parts& parts) {
    find(parts, name) = {name, ElementType::float64, {16, 4}, std::as_bytes(std::span(doubles))};
  });
  const Size tensors = static_cast<Size>(parameters_of(some_model()).size());
  refused(text("holds ", tensors + 1, " tensors, a model of its configuration has ", tensors), [&](Parts& parts) {
    parts.tensors.push_back(find(parts, name));
    parts.tensors.back().name = "decoder.2.cross.key.weight";
  });
  refused("its tensor embedding does not have the shape [vocabulary, d_model] of its configuration",
          [&](Parts& parts) { std::swap(find(parts, "embedding").shape[0], find(parts, "embedding").shape[1]); });
  refused("its parameters are int32, needed float32 or float64", [&](Parts& parts) {
    for (StoredTensor& tensor : parts.tensors) tensor.type = ElementType::int32;
  });
}

TEST_CASE("a damaged configuration is an error before anything of its size is built") {
  const TemporaryFolder folder;
  const auto good = folder / "good.safetensors", bad = folder / "bad.safetensors";
  const auto refused = [&](const char* field, const char* value, const std::string& message) {
    INFO(field, " ", value);
    rewrite(good, bad, [&](Parts& parts) { parts.metadata[field] = value; });
    CHECK_THROWS_WITH_AS(load_model(bad), doctest::Contains((bad.string() + ": " + message).c_str()), Error);
  };
  for (const Positions positions : {Positions::sinusoidal, Positions::learned}) {
    TransformerConfig config = tiny_config();
    config.positions = positions;
    save_model(good, Transformer(config, 1));
    for (const char* field : {"vocabulary", "d_model", "d_ff", "layers", "max_length"}) {
      const std::string name = text("model.", field);
      refused(name.c_str(), "-1", text("configuration: ", field, " is -1, needed at least 1"));
      refused(name.c_str(), "900000000000",
              text("configuration: ", field, " is 900000000000, more than this program builds"));
      refused(name.c_str(), "many", text("configuration: ", field, ": 'many' is not a number"));
      refused(name.c_str(), "99999999999999999999",
              text("configuration: ", field, ": '99999999999999999999' is not a number"));
      refused(name.c_str(), "999000", "");  // within the limits of the program, yet not what the file holds
    }
    refused("model.layers", "30", "its configuration says 30 layers, it holds no tensor encoder.29.");
    refused("model.d_model", "0", "configuration: d_model is 0, needed at least 1");
    refused("model.dropout", "nan", "configuration: dropout is nan, needed at least 0 and below 1");
    refused("model.dropout", "1", "configuration: dropout is 1, needed at least 0 and below 1");
    refused("model.norm", "middle", "configuration: norm 'middle' is not one of those this program knows");
    refused("model.attention", "4/4 4/4", "configuration: attention '4/4 4/4' is not H/G H/G H/G");
    refused("model.attention", "4/4 4/4 4/4 4/4", "configuration: attention '4/4 4/4 4/4 4/4' is not H/G H/G H/G");
    refused("model.attention", "4/4 4/4 4/3", "attention: 4 query heads cannot share 3 key/value heads evenly");
    refused("model.attention", "0/0 4/4 4/4", "attention: d_model 16 does not split into 0 heads evenly");
    refused("model.attention.0", "4/4 4/4 4/4 x", "configuration: attention '4/4 4/4 4/4 x' is not H/G H/G H/G");
    for (const char* word :
         {"4/4,size=", "4/4,size=x", "4/4,width=4", "4/4,window=3,size=4", "4/4,size=0", "4/4size=4",
          "4/4,size=4,size=4", "4/4,window=3x", "4/4,", "/4", "4", "4/4,window=99999999999999999999"}) {
      const std::string line = text("4/4 ", word, " 4/4");
      refused("model.attention", line.c_str(), "configuration: attention '" + line + "' is not H/G H/G H/G, each");
    }
    refused("model.attention", "4/4,window=3 4/4 4/4",
            "attention: a window of 3 positions in encoder self-attention, needed in decoder self-attention only");
    refused("model.attention", "4/4 4/4,window=-3 4/4",
            "attention: a window of -3 positions, needed 1 or more, or 0 for all");
    refused("model.attention", "4/4 4/4 4/4,size=250000",
            "its tensor decoder.0.cross.query.weight does not have the heads of its configuration");
    refused("model.attention", "4/4 4/4,size=1000000000000 4/4",
            "attention: 4 heads of 1000000000000 numbers cannot be built");
    refused("model.attention.2", "4/4 4/4 4/4", "configuration: model.attention.2 is not a field this program knows");
    refused("model.rotary", "1", "configuration: model.rotary is not a field this program knows");
  }
  rewrite(good, bad, [](Parts& parts) { parts.metadata["model.max_length"] = "25"; });
  CHECK_THROWS_WITH_AS(load_model(bad), doctest::Contains("positions does not have"),
                       Error);  // learned: the file holds 24
}

TEST_CASE("files of other programs, and files of the other kind, are refused") {
  const TemporaryFolder folder;
  const auto foreign = folder / "foreign.safetensors", model_file = folder / "model.safetensors",
             run_file = folder / "run.safetensors";
  const std::vector<float> numbers(6);
  write_safetensors(foreign, std::vector<StoredTensor>{
                                 {"h.0.attn", ElementType::float32, {2, 3}, std::as_bytes(std::span(numbers))}});
  CHECK_THROWS_WITH_AS(
      load_model(foreign),
      doctest::Contains("foreign.safetensors: configuration: model.vocabulary is missing; is this a checkpoint "
                        "of this program?"),
      Error);
  write_safetensors(foreign, {});
  CHECK_THROWS_AS(load_model(foreign), Error);
  write_file(foreign, "not a checkpoint");
  CHECK_THROWS_WITH_AS(load_model(foreign), doctest::Contains("foreign.safetensors"), Error);
  CHECK_THROWS_WITH_AS(load_model(folder / "nowhere.safetensors"), doctest::Contains("nowhere.safetensors"), Error);

  const Transformer model = some_model();
  const EncodedCorpus corpus = random_pairs({3, 4}, 11, 2);
  Trainer trainer(model, corpus, {});
  trainer.step();
  save_model(model_file, model);
  save_training(run_file, trainer);
  CHECK(first_difference(load_training_model(run_file).model, model) == "");
  CHECK_THROWS_WITH_AS(load_model(run_file), doctest::Contains("its tensor embedding does not"), Error);
  CHECK_THROWS_WITH_AS(load_training_model(model_file), doctest::Contains("its tensor weight/embedding does not"),
                       Error);
  CHECK_THROWS_WITH_AS(load_training_state(model_file, trainer), doctest::Contains("holds no tensor mean/embedding"),
                       Error);
  const Transformer other(tiny_config(12), 3);
  const EncodedCorpus other_corpus = random_pairs({3}, 12, 4);
  Trainer other_trainer(other, other_corpus, {});
  CHECK_THROWS_WITH_AS(
      load_training_state(run_file, other_trainer),
      doctest::Contains("tensor mean/embedding is [11, 16] float32, its configuration says [12, 16] float32"), Error);
}

TEST_CASE("a torn or flipped file never loads as something else without an error") {
  const TemporaryFolder folder;
  const auto file = folder / "model.safetensors";
  save_model(file, some_model());
  const std::string whole = read_file(file);
  Generator generator(5);
  for (int i = 0; i < 20; ++i) {
    write_file(file, std::string_view(whole).substr(
                         0, static_cast<std::size_t>(generator.below(static_cast<Size>(whole.size())))));
    CHECK_THROWS_AS(load_model(file), Error);
  }
  // A changed byte of the header is an error or harmless (white space, a digit of dropout); it never crashes.
  Size errors = 0;
  for (int i = 0; i < 100; ++i) {
    std::string damaged = whole;
    damaged[static_cast<std::size_t>(generator.below(3000))] = static_cast<char>(generator.below(256));
    write_file(file, damaged);
    try {
      load_model(file);
    } catch (const Error&) {
      ++errors;
    }
  }
  CHECK(errors > 75);
}

TEST_CASE("the mean of several checkpoints is the mean of each parameter") {
  const TemporaryFolder folder;
  std::vector<std::filesystem::path> files;
  std::vector<Transformer> models;
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    models.push_back(some_model(seed, float64));
    files.push_back(folder / text(seed, ".safetensors"));
    save_model(files.back(), models.back(), {{"step", text(seed)}});
  }
  const LoadedModel mean = mean_of_models(files);
  for (const auto& [name, value] : parameters_of(mean.model)) {
    const Tensor sum =
        add(add(parameter_of(models[0], name), parameter_of(models[1], name)), parameter_of(models[2], name));
    CHECK(difference(value, affine(sum, 1.0 / 3, 0)) < 1e-14);
  }
  CHECK(first_difference(mean_of_models({files[1]}).model, models[1]) == "");
  CHECK_THROWS_WITH_AS(mean_of_models({}), "average: no checkpoint to average", Error);
  // The same shapes, but other heads: not the same model.
  save_model(folder / "other.safetensors", Transformer(tiny_config(11, multi_head(4)), 1));
  save_model(folder / "another.safetensors", Transformer(tiny_config(11, multi_head(2)), 1));
  CHECK_THROWS_WITH_AS(mean_of_models({files[0], folder / "other.safetensors"}),
                       doctest::Contains("other.safetensors is not a checkpoint of the same model as "), Error);
  CHECK_THROWS_WITH_AS(mean_of_models({folder / "other.safetensors", folder / "another.safetensors"}),
                       doctest::Contains("another.safetensors is not a checkpoint of the same model as "), Error);
}

TEST_CASE("a run is loaded with its own tokenizer only") {
  const TemporaryFolder folder;
  const Tokenizer own = learn_byte_pairs(small_corpus(20), {.merges = 20});
  std::vector<Merge> merges = own.merges();
  merges[0] = {first_byte_id + 'q', first_byte_id + 'x'};
  const Tokenizer same_size(merges), smaller(std::vector<Merge>(merges.begin(), merges.begin() + 5));
  const Transformer model(tiny_config(own.size()), 1);
  const RunPaths run{folder.path};
  save_model(run.model(), model, {{"tokenizer", own.fingerprint()}});
  own.save(run.tokenizer());
  CHECK(first_difference(load_run(run.folder).model, model) == "");
  CHECK(load_run(run.model()).tokenizer.fingerprint() == own.fingerprint());
  const std::string message = run.tokenizer().string() + " is not the tokenizer that the model in " +
                              run.folder.string() + " was trained with; put the tokenizer.txt of that run beside it";
  same_size.save(run.tokenizer());
  CHECK_THROWS_WITH_AS(load_run(run.folder), message.c_str(), Error);
  save_model(run.model(), model);  // without a fingerprint the size still tells
  smaller.save(run.tokenizer());
  CHECK_THROWS_WITH_AS(load_run(run.folder), message.c_str(), Error);
  std::filesystem::remove(run.tokenizer());
  CHECK_THROWS_WITH_AS(load_run(run.folder), doctest::Contains("tokenizer.txt"), Error);
  std::filesystem::remove(run.model());
  CHECK_THROWS_WITH_AS(load_run(run.folder),
                       text("no model at ", run.folder.string(),
                            ": the folder holds no model.safetensors; give the folder of a "
                            "run, or make one with: headshare train")
                           .c_str(),
                       Error);
}
