#pragma once

// Included at the end of elementwise.cpp and elementwise.cu, after `using Here = Cpu` or `Cuda`: every function of
// elementwise_functions.h, in both precisions. Left out of every other file.
namespace headshare::kernels {

template void map<Negate>(Here, Size, const float*, float*);
template void map<Negate>(Here, Size, const double*, double*);
template void map<Exp>(Here, Size, const float*, float*);
template void map<Exp>(Here, Size, const double*, double*);
template void map<Log>(Here, Size, const float*, float*);
template void map<Log>(Here, Size, const double*, double*);
template void map<Sqrt>(Here, Size, const float*, float*);
template void map<Sqrt>(Here, Size, const double*, double*);
template void map<Square>(Here, Size, const float*, float*);
template void map<Square>(Here, Size, const double*, double*);
template void map<Reciprocal>(Here, Size, const float*, float*);
template void map<Reciprocal>(Here, Size, const double*, double*);
template void map<Tanh>(Here, Size, const float*, float*);
template void map<Tanh>(Here, Size, const double*, double*);
template void map<Sigmoid>(Here, Size, const float*, float*);
template void map<Sigmoid>(Here, Size, const double*, double*);
template void map<Relu>(Here, Size, const float*, float*);
template void map<Relu>(Here, Size, const double*, double*);
template void map<Gelu>(Here, Size, const float*, float*);
template void map<Gelu>(Here, Size, const double*, double*);

template void map<Add>(Here, Size, const float*, const float*, float*);
template void map<Add>(Here, Size, const double*, const double*, double*);
template void map<Subtract>(Here, Size, const float*, const float*, float*);
template void map<Subtract>(Here, Size, const double*, const double*, double*);
template void map<Multiply>(Here, Size, const float*, const float*, float*);
template void map<Multiply>(Here, Size, const double*, const double*, double*);
template void map<Divide>(Here, Size, const float*, const float*, float*);
template void map<Divide>(Here, Size, const double*, const double*, double*);
template void map<ReluBackward>(Here, Size, const float*, const float*, float*);
template void map<ReluBackward>(Here, Size, const double*, const double*, double*);
template void map<GeluBackward>(Here, Size, const float*, const float*, float*);
template void map<GeluBackward>(Here, Size, const double*, const double*, double*);
template void map<TanhBackward>(Here, Size, const float*, const float*, float*);
template void map<TanhBackward>(Here, Size, const double*, const double*, double*);
template void map<SigmoidBackward>(Here, Size, const float*, const float*, float*);
template void map<SigmoidBackward>(Here, Size, const double*, const double*, double*);

template void map<Add>(Here, const BroadcastSizes&, const float*, const float*, float*);
template void map<Add>(Here, const BroadcastSizes&, const double*, const double*, double*);
template void map<Subtract>(Here, const BroadcastSizes&, const float*, const float*, float*);
template void map<Subtract>(Here, const BroadcastSizes&, const double*, const double*, double*);
template void map<Multiply>(Here, const BroadcastSizes&, const float*, const float*, float*);
template void map<Multiply>(Here, const BroadcastSizes&, const double*, const double*, double*);
template void map<Divide>(Here, const BroadcastSizes&, const float*, const float*, float*);
template void map<Divide>(Here, const BroadcastSizes&, const double*, const double*, double*);
template void map<ReluBackward>(Here, const BroadcastSizes&, const float*, const float*, float*);
template void map<ReluBackward>(Here, const BroadcastSizes&, const double*, const double*, double*);
template void map<GeluBackward>(Here, const BroadcastSizes&, const float*, const float*, float*);
template void map<GeluBackward>(Here, const BroadcastSizes&, const double*, const double*, double*);
template void map<TanhBackward>(Here, const BroadcastSizes&, const float*, const float*, float*);
template void map<TanhBackward>(Here, const BroadcastSizes&, const double*, const double*, double*);
template void map<SigmoidBackward>(Here, const BroadcastSizes&, const float*, const float*, float*);
template void map<SigmoidBackward>(Here, const BroadcastSizes&, const double*, const double*, double*);

template void affine(Here, Size, const float*, float, float, float*);
template void affine(Here, Size, const double*, double, double, double*);

}  // namespace headshare::kernels
