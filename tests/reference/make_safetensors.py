"""Makes python.safetensors, which tests/test_safetensors.cpp reads: a file written by the format's own package.

    pip install numpy safetensors==0.8.0
    python3 tests/reference/make_safetensors.py
"""

from pathlib import Path

import numpy
from safetensors.numpy import save_file

tensors = {
    "decoder.0.weight": (numpy.arange(6, dtype=numpy.float32).reshape(2, 3) - 2) / 4,
    "scalar": numpy.array(0.1, dtype=numpy.float64),
    "column": numpy.array([[1 / 3], [-2 / 3], [1e300]], dtype=numpy.float64),
    "tokens": numpy.array([0, -1, 2147483647, -2147483648, 7], dtype=numpy.int32),
    "no rows": numpy.zeros((0, 4), dtype=numpy.float32),
    'Größe "α"': numpy.array([1.5], dtype=numpy.float32),
}
metadata = {"step": "1200", "config": '{"heads": 8,\n "kv_heads": 2}', "Sprache": "größer 🙂"}

save_file(tensors, Path(__file__).parent / "python.safetensors", metadata)
