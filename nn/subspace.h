#pragma once

#include "nn/calibration.h"
#include "nn/head_folding.h"

namespace headshare {

// The shared head that loses least. The query heads of a group need, for their scores, certain directions in the space
// of all the group's keys side by side, and for their output certain directions in that of its values; one head has
// room for D of them. This takes the D directions that the heads together need most on calibration text: the truncated
// singular value decomposition, in squared error the best approximation of that rank (Eckart, Young 1936). Each query
// head, and its rows of W_O, is then rewritten in these coordinates. Unlike the mean of Ainslie et al. 2023 it changes
// queries and output as well; like it, it costs nothing afterwards.
//
//   scores of head h   q_h . k_g                       k_g: the keys of its old head, a slice of all of them, k
//   wanted             (q_h P_h) . (k A)               A: [G D, D], the group's new key head; P_h: [D, D]
//   error              sum over h of |q_h E_h (k - projection of k)|^2, over pairs of a query and a key
// and for the output, with k replaced by the values as head h averages them and q_h by its rows of W_O.
//
// mode: of `attention` before; groups: key/value heads afterwards.
HeadFolding subspace_folding(const Attention& attention, const HeadStatistics& statistics, Size groups);

}  // namespace headshare
