"""Rewrites GGUF files tensor by tensor: to F16, to Q4_0, or with layers left out.

Every rewrite is a function of the input's bytes alone: the same input gives the same output on every machine, so a
hash can be pinned. Norms stay F32, as the engine expects. One tensor is held in memory at a time.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf.constants import GGMLQuantizationType, GGUFValueType, LlamaFileType
from gguf.quants import dequantize, quantize

Progress = Callable[[int, int], None]

_BLOCK = re.compile(r"^blk\.(\d+)\.(.+)$")
_FILE_TYPES = {
    GGMLQuantizationType.F16: LlamaFileType.MOSTLY_F16,
    GGMLQuantizationType.Q4_0: LlamaFileType.MOSTLY_Q4_0,
}


@dataclass(frozen=True, slots=True)
class _Planned:
    name: str
    source: Any
    kind: GGMLQuantizationType
    shape: tuple[int, ...]


def to_f16(source: Path, target: Path, progress: Progress) -> None:
    """Every matrix of `source` as F16: dequantised to float32, then rounded to nearest even."""
    _rewrite(source, target, GGMLQuantizationType.F16, frozenset(), progress)


def to_q4_0(source: Path, target: Path, progress: Progress) -> None:
    """Every matrix of `source` in 4 bits: what a node that saves memory would serve as the real thing."""
    _rewrite(source, target, GGMLQuantizationType.Q4_0, frozenset(), progress)


def without_layers(source: Path, target: Path, count: int, progress: Progress) -> None:
    """`source` in F16 with `count` layers left out, evenly spread; the first and the last layer stay."""
    reader = gguf.GGUFReader(source)
    total = int(reader.fields[_block_count(reader)].contents())
    if not 1 <= count <= total - 2:
        raise ValueError(f"{source.name} has {total} layers: between 1 and {total - 2} can be left out, not {count}")
    _rewrite(source, target, GGMLQuantizationType.F16, spread(total, count), progress)


def spread(total: int, count: int) -> frozenset[int]:
    """`count` layer numbers, evenly spread over the layers between the first and the last of `total`."""
    return frozenset(1 + (2 * index + 1) * (total - 2) // (2 * count) for index in range(count))


def _rewrite(source: Path, target: Path, kind: GGMLQuantizationType, dropped: frozenset[int], progress: Progress) -> None:
    reader = gguf.GGUFReader(source)
    writer = gguf.GGUFWriter(target, str(reader.fields["general.architecture"].contents()))
    try:
        _copy_metadata(reader, writer, kind, len(dropped))
        planned = [_plan(name, tensor, kind) for tensor in reader.tensors if (name := _renamed(tensor.name, dropped))]
        for tensor in planned:
            size = _byte_size(tensor.shape, tensor.kind)
            writer.add_tensor_info(tensor.name, tensor.shape, np.dtype(np.float32), size, tensor.kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for done, tensor in enumerate(planned, start=1):
            writer.write_tensor_data(_converted(tensor))
            progress(done, len(planned))
    finally:
        writer.close()


def _copy_metadata(reader: Any, writer: Any, kind: GGMLQuantizationType, dropped: int) -> None:
    count = _block_count(reader)
    changed = {"general.file_type": int(_FILE_TYPES[kind]), count: int(reader.fields[count].contents()) - dropped}
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name == "general.architecture":
            continue
        sub_type = field.types[-1] if field.types[0] == GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, changed.get(field.name, field.contents()), field.types[0], sub_type=sub_type)


def _block_count(reader: Any) -> str:
    return f"{reader.fields['general.architecture'].contents()}.block_count"


def _renamed(name: str, dropped: frozenset[int]) -> str | None:
    """The tensor's name once the dropped layers are gone and the rest are numbered again; None for a dropped one."""
    found = _BLOCK.match(name)
    if found is None:
        return name
    layer = int(found[1])
    if layer in dropped:
        return None
    return f"blk.{layer - sum(1 for gone in dropped if gone < layer)}.{found[2]}"


def _plan(name: str, tensor: Any, kind: GGMLQuantizationType) -> _Planned:
    shape = tuple(int(size) for size in reversed(tensor.shape))
    return _Planned(name, tensor, kind if len(shape) > 1 else GGMLQuantizationType.F32, shape)


def _byte_size(shape: tuple[int, ...], kind: GGMLQuantizationType) -> int:
    block, size = gguf.GGML_QUANT_SIZES[kind]
    return int(np.prod(shape)) // block * size


def _converted(tensor: _Planned) -> Any:
    values = dequantize(tensor.source.data, tensor.source.tensor_type).reshape(tensor.shape)
    if tensor.kind == GGMLQuantizationType.F32:
        return np.ascontiguousarray(values, dtype=np.float32)
    if tensor.kind == GGMLQuantizationType.F16:
        return np.ascontiguousarray(values, dtype=np.float16)
    return quantize(np.ascontiguousarray(values, dtype=np.float32), tensor.kind)
