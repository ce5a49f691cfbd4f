"""The results as one picture and one page, SVG drawn here."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

from walkaround.dataset.plots import COLOURS, DARK_COLOURS, cut, text
from walkaround.studies.frame.study import Metric
from walkaround.studies.frame.table import Results, Spread, said, shown

_WIDTH, _LABEL, _NOTE, _ROW = 760, 170, 130, 24
_STYLE = f"""
svg{{{COLOURS.strip()};font-family:system-ui,'Segoe UI',Roboto,Helvetica,Arial,sans-serif}}
@media(prefers-color-scheme:dark){{svg{{{DARK_COLOURS.strip()}}}}}
text{{fill:var(--ink);font-size:13px}}.h{{font-size:15px;font-weight:600}}.t{{font-size:22px;font-weight:650}}
.s{{fill:var(--soft);font-size:12px}}.r{{text-anchor:end}}.dot{{fill:var(--blue)}}
.mean{{stroke:var(--ink);stroke-width:2}}.line{{stroke:var(--line)}}.band{{fill:var(--blue);opacity:.18}}
"""
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width"><style>
body{{font:15px/1.5 system-ui,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;max-width:900px;margin:2em auto;
padding:0 1em;color:#1d2430;background:#fff}}table{{border-collapse:collapse;width:100%;font-size:14px}}
td,th{{border-bottom:1px solid #e3e6ec;padding:.35em .6em;text-align:left;vertical-align:top}}
.n{{white-space:nowrap}}.scroll{{overflow-x:auto}}svg{{max-width:100%;height:auto}}
@media(prefers-color-scheme:dark){{body{{color:#e8eaef;background:#14181f}}td,th{{border-color:#333a47}}}}
</style><h1>Study {name}</h1><p>{text}</p>{body}</html>
"""


def as_svg(results: Results) -> str:
    """Draw each metric: a row an arm, a dot a seed, a bar at the mean, a band of one deviation."""
    parts: list[str] = [text(20, 34, f"study {results.study}", "t")]
    y = 52.0
    for metric in results.metrics:
        drawn, y = _draw_metric(results, metric, y)
        parts += drawn
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{y + 20:.0f}" '
        f'viewBox="0 0 {_WIDTH} {y + 20:.0f}"><style>{_STYLE}</style>{"".join(parts)}</svg>'
    )


def _draw_metric(results: Results, metric: Metric, y: float) -> tuple[list[str], float]:
    better = "higher is better" if metric.higher_is_better else "lower is better"
    parts = [text(20, y + 22, f"{metric.text} ({better})", "h")]
    y += 32
    by_arm = {arm: results.values(arm, metric.name) for arm in results.arms}
    everything = [value for values in by_arm.values() for value in values.values()]
    low, high = (min(everything), max(everything)) if everything else (0.0, 1.0)
    room = 0.06 * (high - low) or max(abs(high), 1.0) * 0.05
    low, high = low - room, high + room
    span = _WIDTH - _LABEL - _NOTE - 40

    def x_of(value: float) -> float:
        return _LABEL + 20 + span * min(1.0, max(0.0, (value - low) / (high - low)))

    for arm, values in by_arm.items():
        y += _ROW
        spread = results.spread(arm, metric.name)
        parts.append(text(_LABEL + 8, y + 4, cut(arm, 24), "r"))
        parts.append(f'<path d="M{x_of(low):.1f} {y:.1f}H{x_of(high):.1f}" class="line"/>')
        parts.append(text(_WIDTH - _NOTE, y + 4, shown(metric, spread), "s"))
        if spread is None:
            continue
        parts += _draw_spread(spread, y, x_of)
        parts += [
            f'<circle cx="{x_of(value):.1f}" cy="{y:.1f}" r="3.5" class="dot"><title>seed {seed}: '
            f"{value:.5g}</title></circle>"
            for seed, value in values.items()
        ]
    size = 100.0 if metric.percent else 1.0
    parts += [
        text(x_of(low), y + 24, f"{low * size:.4g}", "s"),
        text(x_of(high), y + 24, f"{high * size:.4g}", "s r"),
    ]
    return parts, y + 32


def _draw_spread(spread: Spread, y: float, x_of: Callable[[float], float]) -> list[str]:
    left, middle = x_of(spread.mean - spread.deviation), x_of(spread.mean)
    right = x_of(spread.mean + spread.deviation)
    wide = max(0.0, right - left)
    band = f'<rect x="{left:.1f}" y="{y - 7:.1f}" width="{wide:.1f}" height="14" class="band"/>'
    mean = f'<path d="M{middle:.1f} {y - 8:.1f}v16" class="mean"/>'
    return [band, mean] if spread.count > 1 else [mean]


def as_page(results: Results) -> str:
    """Return one self-contained page: table, claims, picture."""
    head = "".join(f"<th>{escape(metric.text)}</th>" for metric in results.metrics)
    rows = []
    for arm in results.arms:
        cells = (shown(metric, results.spread(arm, metric.name)) for metric in results.metrics)
        rows.append(f"<tr><td>{escape(arm)}</td>{''.join(f'<td class=n>{cell}</td>' for cell in cells)}</tr>")
    by_name = {metric.name: metric for metric in results.metrics}
    claims = [
        f"<tr><td>{escape(item.claim.text)} ({escape(item.claim.source)})</td><td>{escape(item.claim.paper)}"
        f"</td><td>{escape(item.claim.metric)}: {said(by_name[item.claim.metric], item)}</td>"
        f"<td>{item.verdict}</td></tr>"
        for item in results.verdicts()
    ]
    recipe = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(str(value))}</td></tr>"
        for name, value in results.recipe.items()
    )
    body = (
        f"<div class=scroll><table><tr><th>arm</th>{head}</tr>{''.join(rows)}</table></div>"
        "<p>Mean ± standard deviation over the seeds; one seed has none.</p>"
        "<h2>The paper's claims</h2><div class=scroll><table>"
        f"<tr><th>claim</th><th>paper</th><th>here</th><th>verdict</th></tr>{''.join(claims)}</table></div>"
        "<p>A claim holds when its difference has the claimed sign with every seed, of at least three. "
        "Positive differences are on the claim's side.</p>"
        f"{as_svg(results)}<h2>Recipe</h2><div class=scroll><table>{recipe}</table></div>"
    )
    name = escape(results.study)
    return _PAGE.format(title=f"Study {name}", name=name, text=escape(results.text), body=body)
