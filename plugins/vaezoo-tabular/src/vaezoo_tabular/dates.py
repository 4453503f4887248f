"""Dates and times in text.

Shapes: n cells.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

DATE_FORMATS = (
    "%Y-%m-%d",
    "%Y-%m-%dT%H:%M:%S",
    "%Y-%m-%d %H:%M:%S",
    "%Y-%m-%d %H:%M",
    "%d.%m.%Y",
    "%d.%m.%Y %H:%M",
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%Y/%m/%d",
    "%m/%d/%Y %H:%M",
    "%d/%m/%Y %H:%M",
)
"""Formats of dates that are recognised, in the order in which they are tried."""


ALL_FORMATS = (*DATE_FORMATS, "%Y-%m-%dT%H:%M:%S.%6f", "%Y-%m-%dT%H:%M:%S.%6f%z")
"""Formats in which dates are read where no format is given."""
_ISO_FORMAT = re.compile(
    r"%Y-%m-%d[T ]%H:%M(:%S)?(?P<part>\.%[36]f)?(?P<zone>%z|Z|[-+]\d\d:\d\d)?"
)
"""Formats of ISO 8601: ``%3f`` and ``%6f`` are thousandths and millionths of a second; the zone is
``%z``, Z or an offset in which all times are written."""
_ISO_TEXT = (
    r"^\d{4}-\d\d-\d\d(?P<sign>[T ])\d\d:\d\d(?P<second>:\d\d(?P<part>\.\d{1,9})?)?"
    r"(?P<zone>Z|[-+]\d\d:?\d\d)?$"
)


def iso_format(texts: pa.Array) -> str:
    """The format of times of ISO 8601 with fractions of seconds or time zones.

    Empty if a text is none, or only some have a zone. Times in several zones are written in UTC.
    """
    if not len(texts) or pc.extract_regex(texts[:1], _ISO_TEXT).null_count:
        return ""
    parts = pc.extract_regex(texts, _ISO_TEXT)
    if parts.null_count:
        return ""
    zones = pc.unique(parts.field("zone")).to_pylist()
    if "" in zones and len(zones) > 1:
        return ""
    zone = zones[0] if len(zones) == 1 else "%z"
    zone = f"{zone[:3]}:{zone[3:]}" if re.fullmatch(r"[-+]\d{4}", zone) else zone
    digits = pc.max(pc.binary_length(parts.field("part"))).as_py() - 1
    part = "" if digits < 1 else ".%3f" if digits <= 3 else ".%6f"
    second = ":%S" if pc.max(pc.binary_length(parts.field("second"))).as_py() else ""
    found = f"%Y-%m-%d{parts.field('sign')[0].as_py()}%H:%M{second}{part}{zone}"
    return "" if parse_dates(texts, found).null_count else found


def best_format(texts: pa.Array, formats: Sequence[str]) -> str:
    """The format that most of the texts have."""
    return min(formats, key=lambda each: parse_dates(texts, each).null_count)


def parse_dates(values: pa.Array, date_format: str) -> pa.Array:
    """Timestamps of text in a format; null where a cell does not have it. Zones become UTC."""
    encoded = values.dictionary_encode()
    texts, iso = encoded.dictionary, _iso(date_format)
    if iso is not None:
        return _parse_iso(texts, has_zone=bool(iso["zone"])).take(encoded.indices)
    times = pc.strptime(texts, format=date_format, unit="us", error_is_null=True)
    if not re.sub("%[YmdHMS]", "", date_format).count("%"):  # 31.02. would be 2.03.
        written = pc.strftime(times.cast(pa.timestamp("s")), format=date_format)
        is_same = pc.equal(_without_zeros(written), _without_zeros(texts))
        times = pc.if_else(is_same, times, pa.scalar(None, times.type))
    return times.take(encoded.indices)


def format_dates(stamps: pa.Array, date_format: str) -> pa.Array:
    """Timestamps ``timestamp[us]`` in UTC as text in a format."""
    iso, unit = _iso(date_format), "s"
    if iso is not None:
        unit = {".%3f": "ms", ".%6f": "us"}.get(iso["part"] or "", "s")
        zone = iso["zone"] or ""
        if zone[:1] in ("+", "-"):
            minutes = 60 * int(zone[1:3]) + int(zone[4:])
            shift = datetime.timedelta(minutes=minutes if zone[0] == "+" else -minutes)
            stamps = pc.add(stamps, pa.scalar(shift, pa.duration("us")))
        # of finer units, %S has the fraction
        date_format = re.sub(r"\.%[36]f", "", date_format).replace("%z", "+00:00")
    return pc.strftime(pc.cast(stamps, pa.timestamp(unit), safe=False), format=date_format)


def _iso(date_format: str) -> re.Match[str] | None:
    """The parts of a format with fractions or a zone, which ``strptime`` of Arrow lacks."""
    match = _ISO_FORMAT.fullmatch(date_format)
    return match if match is not None and date_format not in DATE_FORMATS else None


def _parse_iso(texts: pa.Array, *, has_zone: bool) -> pa.Array:
    """Timestamps in UTC of times of ISO 8601; null where a text is none."""
    parts = pc.extract_regex(texts, _ISO_TEXT)
    is_as_asked = pc.equal(pc.not_equal(parts.field("zone"), ""), has_zone)
    texts = pc.if_else(pc.and_(parts.is_valid(), is_as_asked), texts, pa.scalar(None, texts.type))
    texts = pc.replace_substring_regex(texts, r"(\.\d{6})\d+", r"\1")
    kind = pa.timestamp("us", "UTC" if has_zone else None)
    try:
        times = pc.cast(texts, kind)
    except pa.ArrowInvalid:  # some have no such month, day or hour
        times = pa.concat_arrays([_cast_one(texts[i : i + 1], kind) for i in range(len(texts))])
    return pc.cast(times, pa.timestamp("us"))


def _cast_one(text: pa.Array, kind: pa.DataType) -> pa.Array:
    try:
        return pc.cast(text, kind)
    except pa.ArrowInvalid:
        return pa.nulls(1, kind)


def _without_zeros(texts: pa.Array) -> pa.Array:
    """Dates without the zeros before days, months and hours."""
    return pc.replace_substring_regex(texts, r"\b0(\d)", r"\1")
