"""DICOM frames against the standard's formulas, written out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless, generate_uid

from mtl.datasets.angiography import read_video
from mtl.errors import DataError

SIDE = 8


def write_dicom(path: Path, stored: np.ndarray, bits: int = 8, **tags) -> Path:
    """Write stored values ``(T, H, W)`` or ``(T, H, W, 3)``."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = (
        "1.2.840.10008.5.1.4.1.1.12.1",
        generate_uid(),
    )
    header = pydicom.Dataset()
    header.file_meta = meta
    header.SOPClassUID, header.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    header.NumberOfFrames, header.Rows, header.Columns = stored.shape[:3]
    header.SamplesPerPixel = 3 if stored.ndim == 4 else 1
    header.PhotometricInterpretation = "RGB" if stored.ndim == 4 else "MONOCHROME2"
    if stored.ndim == 4:
        header.PlanarConfiguration = 0
    header.BitsAllocated, header.BitsStored, header.HighBit = 8 * stored.itemsize, bits, bits - 1
    header.PixelRepresentation = int(stored.dtype.kind == "i")
    header.PixelData = stored.tobytes()
    for name, value in tags.items():
        setattr(header, name, value)
    header.save_as(path, enforce_file_format=True)
    return path


def values(dtype: str, low: int, high: int, n_frames: int = 3) -> np.ndarray:
    return np.random.default_rng(1).integers(low, high, (n_frames, SIDE, SIDE)).astype(dtype)


def frames_of(path: Path, n_frames: int = 3) -> np.ndarray:
    return read_video(path, n_frames, SIDE)[0].numpy()


def test_stored_bits_are_the_range_without_a_window(tmp_path: Path) -> None:
    eight, twelve, signed = values("uint8", 0, 256), values("uint16", 0, 4096), values("int16", -2048, 2048)
    for stored, bits, expected in (
        (eight, 8, eight / 255),
        (twelve, 12, twelve / 4095),
        (signed, 12, (signed + 2048.0) / 4095),
    ):
        path = write_dicom(tmp_path / "x.dcm", stored, bits)
        np.testing.assert_allclose(frames_of(path), expected, atol=2e-5)


def test_monochrome1_is_inverted(tmp_path: Path) -> None:
    stored = values("uint16", 0, 1024)
    path = write_dicom(tmp_path / "x.dcm", stored, 10, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_allclose(frames_of(path), 1 - stored / 1023, atol=2e-5)


def test_a_window_is_applied_as_the_standard_says(tmp_path: Path) -> None:
    stored, slope, intercept, centre, width = values("uint16", 0, 4096), 2.0, -100.0, 3000.0, 2500.0
    path = write_dicom(
        tmp_path / "x.dcm", stored, 12, RescaleSlope=slope, RescaleIntercept=intercept, WindowCenter=centre,
        WindowWidth=width,
    )  # fmt: skip
    # PS3.3 C.11.2.1.2.1, linear: y = ((x - (c - 0.5)) / (w - 1) + 0.5), cut at 0 and 1.
    x = stored * slope + intercept
    expected = ((x - (centre - 0.5)) / (width - 1) + 0.5).clip(0, 1)
    assert ((expected == 0) | (expected == 1)).any() and ((expected > 0) & (expected < 1)).any()
    np.testing.assert_allclose(frames_of(path), expected, atol=2e-5)


def test_a_table_of_grey_values_is_applied(tmp_path: Path) -> None:
    stored = values("uint8", 0, 256)
    table = np.sqrt(np.arange(256) / 255) * 4095
    item = pydicom.Dataset()
    item.LUTDescriptor, item.LUTData = [256, 0, 12], np.round(table).astype(np.uint16).tobytes()
    path = write_dicom(tmp_path / "x.dcm", stored, 8, VOILUTSequence=[item])
    np.testing.assert_allclose(frames_of(path), np.sqrt(stored / 255), atol=2e-4)


def test_colour_and_a_single_frame(tmp_path: Path) -> None:
    colour = np.random.default_rng(2).integers(0, 256, (2, SIDE, SIDE, 3)).astype(np.uint8)
    path = write_dicom(tmp_path / "rgb.dcm", colour)
    np.testing.assert_allclose(
        read_video(path, 2, SIDE).numpy(), colour.transpose(3, 0, 1, 2) / 255, atol=2e-5
    )
    stored = values("uint8", 0, 256, 1)
    single = write_dicom(tmp_path / "one.dcm", stored)
    np.testing.assert_allclose(frames_of(single, 2), np.repeat(stored, 2, axis=0) / 255, atol=2e-5)


def test_a_file_without_suffix_is_known_by_its_mark(tmp_path: Path) -> None:
    stored = values("uint8", 0, 256)
    np.testing.assert_allclose(frames_of(write_dicom(tmp_path / "IM0001", stored)), stored / 255, atol=2e-5)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    whole = write_dicom(tmp_path / "x.dcm", values("uint8", 0, 256)).read_bytes()
    (tmp_path / "cut.dcm").write_bytes(whole[:-100])
    (tmp_path / "text.dcm").write_text("no DICOM " * 40)
    write_dicom(tmp_path / "zero.dcm", values("uint8", 0, 256), NumberOfFrames=0)
    bare = pydicom.dcmread(tmp_path / "x.dcm")
    del bare.PixelData
    bare.save_as(tmp_path / "bare.dcm")
    packed = pydicom.dcmread(tmp_path / "x.dcm")
    packed.file_meta.TransferSyntaxUID = JPEGLSLossless
    packed.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xd9"] * 3)
    packed["PixelData"].VR = "OB"
    packed.save_as(tmp_path / "packed.dcm")
    for name, message in (
        ("cut.dcm", "the frames cannot be decoded"),
        ("text.dcm", "expected a DICOM file"),
        ("zero.dcm", "a clip of zero length"),
        ("bare.dcm", "holds no pixel data"),
        ("packed.dcm", r"the frames cannot be decoded \(transfer syntax JPEG-LS Lossless"),
    ):
        with pytest.raises(DataError, match=rf"{name}: .*{message}"):
            read_video(tmp_path / name, 3, SIDE)


@pytest.mark.parametrize("windowed", [False, True])
def test_a_modality_table_gives_the_range(tmp_path: Path, windowed: bool) -> None:
    stored = values("uint8", 0, 256)
    item = pydicom.Dataset()
    item.LUTDescriptor = [256, 0, 16]
    item.LUTData = (np.arange(256, dtype=np.uint16) * 200).tobytes()
    item.ModalityLUTType = "US"
    window = {"WindowCenter": 2**15, "WindowWidth": 2**16} if windowed else {}
    path = write_dicom(tmp_path / "x.dcm", stored, 8, ModalityLUTSequence=[item], **window)
    np.testing.assert_allclose(frames_of(path), stored * 200.0 / 65535, atol=2e-4)


def test_odd_tags_are_refused_by_name(tmp_path: Path) -> None:
    stored = values("uint8", 0, 256)
    odd = write_dicom(tmp_path / "window.dcm", stored, WindowCenter=100, WindowWidth=0)
    whole = write_dicom(tmp_path / "x.dcm", stored).read_bytes()
    (tmp_path / "header.dcm").write_bytes(whole[: whole.rindex(b"\xe0\x7f\x10\x00") + 9])
    empty = write_dicom(tmp_path / "table.dcm", stored, VOILUTSequence=[])
    np.testing.assert_allclose(frames_of(empty), stored / 255, atol=2e-5)
    for path in (odd, tmp_path / "header.dcm"):
        with pytest.raises(DataError, match=path.name):
            frames_of(path)
