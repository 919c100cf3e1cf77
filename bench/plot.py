"""Charts as SVG files."""
import math
import pathlib

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 640, 320, 64, 44, 40


def chart(file, title, series, rate, least):
    """What N nodes carry: bars, a line for what all links together could carry, and one for the bar.

    `series`: {name: {nodes: Mbit/s}}. `rate`: Mbit/s of one link; `least`: the share of N links that is asked for."""
    sizes = sorted({nodes for figures in series.values() for nodes in figures})
    top = max(sizes) * rate * 1.05
    slot, colours, inks = (WIDTH - LEFT - 16) / len(sizes), ('#2f6f9f', '#9fc5e8'), ('#fff', '#222')

    def y(value):
        return HEIGHT - BOTTOM - value / top * (HEIGHT - BOTTOM - TOP)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12" role="img">',
           f'<title>{title}</title>', f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
           f'<text x="{LEFT}" y="22" font-size="14" fill="#222">{title}</text>']
    for step in range(0, int(top) + 1, rate):
        out.append(f'<line x1="{LEFT}" x2="{WIDTH - 16}" y1="{y(step):.1f}" y2="{y(step):.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{LEFT - 6}" y="{y(step) + 4:.1f}" text-anchor="end" fill="#444">{step}</text>')
    for index, nodes in enumerate(sizes):
        left = LEFT + index * slot
        width = slot * 0.7 / len(series)
        for number, (name, figures) in enumerate(series.items()):
            if nodes not in figures:
                continue
            x, value = left + slot * 0.15 + number * width, figures[nodes]
            out.append(f'<rect x="{x:.1f}" y="{y(value):.1f}" width="{width - 3:.1f}" height="{y(0) - y(value):.1f}" '
                       f'fill="{colours[number % len(colours)]}"><title>{name}, {nodes} nodes: {value:.0f} Mbit/s</title></rect>')
            out.append(f'<text x="{x + width / 2 - 1:.1f}" y="{y(0) - 6:.1f}" text-anchor="middle" fill="{inks[number % len(inks)]}">{value:.0f}</text>')
        for share, dash in ((1.0, ''), (least, ' stroke-dasharray="5 4"')):
            height = y(nodes * rate * share)
            out.append(f'<line x1="{left + slot * 0.08:.1f}" x2="{left + slot * 0.92:.1f}" y1="{height:.1f}" y2="{height:.1f}" '
                       f'stroke="#b03030" stroke-width="1.5"{dash}/>')
        out.append(f'<text x="{left + slot / 2:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle" fill="#222">'
                   f'{nodes} node{"s" if nodes > 1 else ""}</text>')
    legend = '  '.join(f'<tspan fill="{colours[i % len(colours)]}">&#9632;</tspan> {name}' for i, name in enumerate(series))
    out.append(f'<text x="{LEFT}" y="{HEIGHT - 8}" fill="#222">Mbit/s of payload. {legend} '
               f'<tspan fill="#b03030">&#8212;</tspan> N links, <tspan fill="#b03030">- -</tspan> {least:.2f} of them</text>')
    pathlib.Path(file).write_text('\n'.join([*out, '</svg>', '']))


ROW, NAMES, LEAST, MOST = 26, 330, 1 / 32, 4  # ratios beyond are drawn at the edge


def ratios(file, rows):
    """A line for each case, a dot for each peer: Hansa's CPU by the peer's, on a logarithmic scale, with the bars."""
    colours = {'nginx': '#2f8f4f', 'docker-registry': '#2f6f9f', 'zot': '#c07020'}
    width, height = 900, TOP + ROW * len(rows) + BOTTOM

    def x(ratio):
        share = math.log(min(max(ratio, LEAST), MOST) / LEAST) / math.log(MOST / LEAST)
        return NAMES + share * (width - NAMES - 24)
    title = 'CPU of Hansa, by that of others for the same work'
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12" role="img">',
           f'<title>{title}</title>', f'<rect width="{width}" height="{height}" fill="#fff"/>',
           f'<text x="16" y="22" font-size="14" fill="#222">{title}</text>']
    for step in range(int(math.log2(LEAST)), int(math.log2(MOST)) + 1):
        value, ink = 2 ** step, '#888' if step == 0 else '#e4e4e4'
        out.append(f'<line x1="{x(value):.1f}" x2="{x(value):.1f}" y1="{TOP}" y2="{height - BOTTOM}" stroke="{ink}"/>')
        name = f'{value:g}' if step >= 0 else f'1/{2 ** -step}'
        out.append(f'<text x="{x(value):.1f}" y="{height - BOTTOM + 16}" text-anchor="middle" fill="#444">{name}</text>')
    for index, row in enumerate(rows):
        y = TOP + ROW * (index + 0.5)
        out.append(f'<text x="16" y="{y + 4:.1f}" fill="#222">{row["case"]}</text>')
        for column, ratio in row['ratios'].items():
            bar = ratio['bar']
            if bar:
                out.append(f'<line x1="{x(bar):.1f}" x2="{x(bar):.1f}" y1="{y - 9:.1f}" y2="{y + 9:.1f}" '
                           f'stroke="{colours[column]}" stroke-width="2"/>')
            out.append(f'<circle cx="{x(ratio["cpu"]):.1f}" cy="{y:.1f}" r="5" fill="{colours[column]}">'
                       f'<title>{row["case"]}: {ratio["cpu"]:.2f} of {column}</title></circle>')
    legend = '  '.join(f'<tspan fill="{colour}">&#9679;</tspan> {name}' for name, colour in colours.items()
                       if any(name in row['ratios'] for row in rows))
    out.append(f'<text x="16" y="{height - 8}" fill="#222">Of {legend}; a line of the same colour: the most that is promised</text>')
    pathlib.Path(file).write_text('\n'.join([*out, '</svg>', '']))
