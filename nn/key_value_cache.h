#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "nn/attention.h"

namespace headshare {

// How a cache keeps its keys: one position after the other; or in tiles (tensor/attention.h), which many queries of a
// head read faster, on Device::cpu and for keys that come all at once.
enum class KeyOrder { positions, tiles };

// Of a source sentence that `beam` hypotheses look at. Short ones are not worth what is empty in their last tile.
KeyOrder order_of_source_keys(const AttentionMode& mode, Size beam, Size positions, Device device);

// Keys and values of the positions decoded so far, [B, G, places, D] each: G heads, never expanded to H. Stored as
// options.type says; bfloat16 halves the bytes that every step reads. int8 quarters them, nearly: each head of D
// numbers is divided by its largest / 127, which is kept beside it as a float32 scale.
//
// With a window (0: none), nobody looks further back than that, and the places are a ring: position p lies in place p
// modulo min(capacity, window), where it overwrites one that left the window. Attention does not care where in the ring
// a key lies, as long as one query at a time asks: the newest position, which sees all that the ring holds.
class KeyValueCache {
 public:
  KeyValueCache() = default;
  KeyValueCache(Size batch, Size kv_heads, Size capacity, Size head_size, TensorOptions options, Size window = 0,
                KeyOrder order = KeyOrder::positions);

  Size length() const { return length_; }                    // positions so far, at most the capacity
  Size held() const { return std::min(length_, places()); }  // of these, those still there
  Size batch() const { return batch_; }
  Size bytes() const;  // of the sentences it holds, with their free positions

  // Adds the keys and values of the next positions, [B, T, G, D]. Fails when they do not fit. With keys in tiles it may
  // be called once, and `write` and `advance` not at all.
  void append(const KeysValues& next);

  // All places taken so far, as views.      [B, held, G, D]; keys in tiles: [B, G, key_tiles(held), D, 32]
  KeysValues keys_values() const;

  // The same in two halves, for a step that is recorded and repeated: `write` is the device's part, which finds the
  // position in its own memory (one int32), and `advance` the host's, which fails when there is no room.
  void write(const KeysValues& next, const Tensor& position) const;
  void advance(Size positions);
  KeysValues all_places() const;  // also those not written yet                             [B, places, G, D]
  HeadScales scales() const;      // of all places; undefined unless int8                    [B, places, G]

  // Keeps the listed sentences, in this order, some perhaps twice: finished sentences leave, beams are reordered. A
  // sentence that keeps its place is not touched, and of one that moves, only the positions held.
  void select(std::span<const std::int32_t> sentences);

 private:
  Size places() const { return value_.defined() ? value_.extent(2) : 0; }
  Size end_after(Size positions) const;              // the length with so many more, if they fit
  KeysValues in_places(Size begin, Size end) const;  // begin .. end - 1                    [B, end - begin, G, D]
  HeadScales scales_in_places(Size begin, Size end) const;
  std::vector<Tensor*> tensors();  // all that rows are moved of
  void grow(Size batch);           // room for more sentences

  bool in_tiles() const { return key_.rank() == 5; }

  Tensor key_;  // one row more than sentences: select moves in circles through it
  Tensor value_;
  Tensor key_scales_, value_scales_;  // of int8                                            [B + 1, G, places, 1]
  Size batch_ = 0;
  Size capacity_ = 0;
  Size length_ = 0;
};

}  // namespace headshare
