// What an answer of /v2/_hansa/cluster means, in words. Tolerant: what is missing is unknown. Touches no page.
export const steps = 120; // that a chart is wide

export const list = (value) => (Array.isArray(value) ? value : []);
export const count = (value) => (Number.isFinite(value) ? value : 0);
export const numberText = (value) => count(value).toLocaleString('en');
export const counted = (number, one, many) => `${numberText(number)} ${number === 1 ? one : many}`;

export function rateText(rate) {
  return rate === null ? 'unknown' : sizeText(rate) + '/s';
}

export function sizeText(bytes) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let at = 0;
  while (bytes >= 999.5 && at < units.length - 1) {
    bytes /= 1000;
    at += 1;
  }
  return (at === 0 || bytes >= 99.95 ? bytes.toFixed(0) : bytes.toFixed(1)) + ' ' + units[at];
}

export function durationText(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}

// A single node has no metadata store beside it, and no mark: what it has is all there is.
export const isSingle = (status) => status.members.length === 1 && Object.keys(status.metadata ?? {}).length === 0;

export function contentOf(member, single) {
  if (single) return {kind: 'good', text: 'complete', detail: ''};
  const owed = count(member.repair?.owed);
  const missing = owed > 0 ? `${counted(owed, 'blob', 'blobs')} missing` : '';
  if (!member.in_layout) return {kind: 'quiet', text: 'none', detail: 'not in the layout'};
  if (!member.holds) return {kind: 'warn', text: 'unknown', detail: 'no mark yet'};
  if (!member.holds.full) return {kind: 'warn', text: 'filling', detail: missing};
  const lacks = count(member.holds.left_out);
  const text = `lacks ${counted(lacks, 'blob', 'blobs')}`;
  if (lacks > 0) return {kind: 'bad', text, detail: 'nobody could give them'};
  // It had everything; what was pushed since is on its way.
  if (owed > 0) return {kind: 'good', text: 'catching up', detail: missing};
  return {kind: 'good', text: 'complete', detail: ''};
}

export function ratesOf(status) {
  const found = new Map();
  for (const entry of list(status.history?.members)) {
    found.set(entry.id, {sent: list(entry.sent).slice(-steps), received: list(entry.received).slice(-steps)});
  }
  return found;
}

// Step by step over all members; unknown where nobody is known. The newest steps lie at the ends.
export function sumOf(series) {
  const length = Math.max(0, ...series.map((values) => values.length));
  return Array.from({length}, (_, i) => {
    const known = series.map((values) => values[values.length - length + i] ?? null).filter((value) => value !== null);
    return known.length ? known.reduce((sum, value) => sum + value, 0) : null;
  });
}

// Only what a browser may follow; an address is a member's own word.
export function pageOf(member) {
  try {
    const url = new URL('/cluster', member.url);
    return url.protocol === 'http:' || url.protocol === 'https:' ? url.href : null;
  } catch {
    return null;
  }
}

export function repairText(member, single) {
  const repair = member.repair;
  const content = contentOf(member, single);
  if (!repair || count(repair.owed) === 0) return [content.text, content.detail].filter(Boolean).join(': ');
  let text = `${counted(repair.owed, 'blob', 'blobs')} missing`;
  if (count(repair.owed_bytes) > 0) text += ` (${sizeText(repair.owed_bytes)})`;
  if (count(repair.fetched_bytes) > 0) text += `, ${sizeText(repair.fetched_bytes)} fetched since its start`;
  const left = repair.seconds_left;
  return text + (Number.isFinite(left) ? `, about ${durationText(left)} left` : ', time left unknown');
}
