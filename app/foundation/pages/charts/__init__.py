"""Charts as SVG made on the server: no script, the strictest CSP, light and dark by the page's style sheet, printable.

Every chart names its unit, draws its intervals and has a text for those who cannot see it. The page puts a table of the
same figures under it (``macros.html``: figure). Numbers outside of what is drawn are cut at the edge, never dropped.
"""

from app.foundation.pages.charts.bars import bars, histogram
from app.foundation.pages.charts.decisions import Version, cumulative, lineage
from app.foundation.pages.charts.forest import cell, cell_axis, forest, scale_of
from app.foundation.pages.charts.lines import Series, lines
from app.foundation.pages.charts.parts import Figure, Point, Row, Tone

__all__ = [
    "Figure",
    "Point",
    "Row",
    "Series",
    "Tone",
    "Version",
    "bars",
    "cell",
    "cell_axis",
    "cumulative",
    "forest",
    "histogram",
    "lineage",
    "lines",
    "scale_of",
]
