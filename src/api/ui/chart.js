// Throughput charts: inline SVG of what was sent and received, step by step, the newest step at the right.
// Texts are HTML beside the picture, which is stretched to the width that there is.
import {rateText} from './meaning.js';

const svgNamespace = 'http://www.w3.org/2000/svg';
const width = 600;
const height = 100;
const leastTop = 1e6; // bytes per second at the upper edge: a page's own questions are no mountain

// The next of 1, 2, 5, 10, ... at or above the largest value.
export function topOf(series) {
  let most = leastTop;
  for (const values of series) for (const value of values) if (value !== null && value > most) most = value;
  const magnitude = 10 ** Math.floor(Math.log10(most));
  for (const factor of [1, 2, 5, 10]) if (factor * magnitude >= most) return factor * magnitude;
  return most;
}

// The mean of the newest two steps that are known; null if there is none.
export function newest(values) {
  const known = values.slice(-2).filter((value) => value !== null);
  return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
}

function shape(name, attributes) {
  const element = document.createElementNS(svgNamespace, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

// Runs of known steps as [[x, y], ...]; what is unknown leaves a gap.
function runs(values, steps, top) {
  const step = width / steps;
  const out = [];
  let run = null;
  values.forEach((value, i) => {
    if (value === null) {
      run = null;
      return;
    }
    if (run === null) out.push((run = []));
    const right = width - (values.length - 1 - i) * step;
    const y = height - Math.min(value / top, 1) * (height - 2) - 1;
    run.push([right - step, y], [right, y]);
  });
  return out;
}

function paths(values, steps, top, kind) {
  const out = [];
  for (const run of runs(values, steps, top)) {
    const line = run.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join(' L');
    const [first, last] = [run[0][0].toFixed(1), run[run.length - 1][0].toFixed(1)];
    out.push(shape('path', {class: `area ${kind}`, d: `M${first} ${height} L${line} L${last} ${height} Z`}));
    out.push(shape('path', {class: `line ${kind}`, d: `M${line}`}));
  }
  return out;
}

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text) made.textContent = text;
  return made;
}

// A figure that update() fills: {name, sent, received, steps, top, minutes}.
export function makeChart(className) {
  const figure = element('figure', className);
  const caption = element('figcaption');
  const name = element('strong');
  const now = element('span', 'quiet');
  caption.append(name, now);
  const plot = element('div', 'plot');
  const upper = element('span', 'axis upper');
  const svg = shape('svg', {viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: 'none', role: 'img'});
  plot.append(svg, upper);
  const axis = element('div', 'axis lower');
  const oldest = element('span');
  axis.append(oldest, element('span', '', 'now'));
  figure.append(caption, plot, axis);
  return {
    figure,
    update(chart) {
      const sent = newest(chart.sent);
      const received = newest(chart.received);
      name.textContent = chart.name;
      now.textContent = `sent ${rateText(sent)}, received ${rateText(received)}`;
      upper.textContent = rateText(chart.top);
      oldest.textContent = `${chart.minutes} min ago`;
      const label = `Throughput of ${chart.name}: ${now.textContent}; upper edge ${upper.textContent}`;
      svg.setAttribute('aria-label', label);
      const grid = [0.25, 0.5, 0.75].map((part) =>
        shape('line', {class: 'grid', x1: 0, x2: width, y1: part * height, y2: part * height}));
      svg.replaceChildren(...grid, ...paths(chart.sent, chart.steps, chart.top, 'sent'),
        ...paths(chart.received, chart.steps, chart.top, 'received'));
    },
  };
}
