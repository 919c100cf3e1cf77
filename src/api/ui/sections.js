// The sections of the cluster page, filled from one answer. All texts come from elsewhere and go into the page by
// textContent only.
import {makeChart, newest, topOf} from './chart.js';
import {
  contentOf, count, counted, isSingle, list, numberText, pageOf, ratesOf, rateText, repairText, sizeText, steps, sumOf,
} from './meaning.js';

const fullDisk = 0.9;
const crowdedDisk = 0.8;

export const byId = (id) => document.getElementById(id);

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function make(name, className, text) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

// One child of `parent` for each item, kept under the item's key, so that what is open stays open.
function keyed(parent, items, keyOf, create, update) {
  parent.kept ??= new Map();
  const seen = new Set(items.map(keyOf));
  for (const [key, child] of parent.kept) {
    if (seen.has(key)) continue;
    child.element.remove();
    parent.kept.delete(key);
  }
  items.forEach((item, i) => {
    const key = keyOf(item);
    if (!parent.kept.has(key)) parent.kept.set(key, create(item));
    const child = parent.kept.get(key);
    if (parent.children[i] !== child.element) parent.insertBefore(child.element, parent.children[i] ?? null);
    update(child, item);
  });
}

function showAlarms(status) {
  const degraded = list(status.degraded).map(String);
  const drift = list(status.drift);
  byId('alarms').hidden = degraded.length === 0 && drift.length === 0;
  const sentence = () => ({element: make('li')});
  const say = (child, text) => setText(child.element, text);
  keyed(byId('degraded'), degraded, (text) => text, sentence, say);
  byId('drift').hidden = drift.length === 0;
  const rules = drift.map((one) => {
    const groups = list(one.groups).map((group) => list(group).join(', '));
    return `${one.rule}: ${groups.join('  |  ')}`;
  });
  keyed(byId('drift').querySelector('ul'), rules, (text) => text, sentence, say);
}

function tile(id, text, detail, kind) {
  const box = byId(id);
  const [value, below] = box.querySelectorAll('dd');
  setText(value, text);
  setText(below, detail);
  box.className = kind;
}

function showTiles(status, rates) {
  const single = isSingle(status);
  const alive = status.members.filter((member) => member.alive).length;
  const all = status.members.length;
  const draining = status.members.filter((member) => member.state === 'draining').length;
  tile('tile-members', single ? 'single node' : `${alive} of ${all} alive`, draining ? `${draining} draining` : '',
    alive === all ? 'good' : 'bad');
  const contents = status.members.map((member) => contentOf(member, single));
  const owed = status.members.reduce((sum, member) => sum + count(member.repair?.owed), 0);
  const worst = ['bad', 'warn'].find((kind) => contents.some((content) => content.kind === kind)) ?? 'good';
  const copies = counted(count(status.layout?.write_copies), 'copy', 'copies');
  const complete = worst === 'good' ? 'complete' : 'incomplete';
  const text = owed > 0 ? `${counted(owed, 'blob', 'blobs')} missing` : complete;
  tile('tile-content', text, `a push waits for ${copies}`, worst);
  const series = [...rates.values()];
  for (const way of ['sent', 'received']) {
    const sums = sumOf(series.map((one) => one[way]));
    const peak = Math.max(0, ...sums.filter((value) => value !== null));
    tile(`tile-${way}`, sums.length ? rateText(newest(sums)) : 'not yet known', `at most ${rateText(peak)}`, '');
  }
  const metadata = status.metadata ?? {};
  const detail = metadata.version ? `etcd ${metadata.version}` : '';
  if (single) tile('tile-metadata', 'on this node', 'revision ' + count(status.revision), 'good');
  else if (metadata.reachable) tile('tile-metadata', 'reachable', detail, 'good');
  else tile('tile-metadata', 'unreachable', detail, 'bad');
  const place = single ? 'single node' : `${alive} of ${all} alive`;
  document.title = `${place} · Hansa cluster`;
}

function createRow(member) {
  const row = make('tr');
  row.dataset.member = member.id;
  const head = make('th');
  head.scope = 'row';
  const link = make('a', 'member-id');
  const self = make('span', 'badge', 'this node');
  const url = make('span', 'quiet below');
  head.append(link, self, url);
  row.append(head);
  const cells = {};
  for (const name of ['state', 'load', 'disk', 'behind', 'content', 'stop', 'version']) {
    const cell = make('td', `cell-${name}`);
    cells[name] = {cell, main: make('span', 'main'), below: make('span', 'quiet below')};
    cell.append(cells[name].main, cells[name].below);
    row.append(cell);
  }
  const bar = make('div', 'bar');
  const used = make('div');
  bar.append(used);
  bar.setAttribute('aria-hidden', 'true'); // the text beside it says the same
  cells.disk.cell.insertBefore(bar, cells.disk.below);
  return {element: row, link, self, url, cells, bar, used};
}

function fill(cell, text, below = '', kind = '') {
  setText(cell.main, text);
  setText(cell.below, below);
  cell.main.className = `main ${kind}`;
}

function fillDisk(row, member) {
  const total = count(member.disk_total);
  const free = count(member.disk_available);
  row.bar.hidden = !member.alive || total === 0;
  if (row.bar.hidden) return fill(row.cells.disk, '–');
  const part = 1 - free / total;
  row.used.style.width = `${(part * 100).toFixed(1)}%`;
  const kind = part >= fullDisk ? 'bad' : part >= crowdedDisk ? 'warn' : '';
  row.used.className = kind;
  fill(row.cells.disk, `${Math.round(part * 100)} % used`, `${sizeText(free)} free of ${sizeText(total)}`, kind);
}

function fillRow(row, member, status, rates) {
  const single = isSingle(status);
  const page = pageOf(member);
  setText(row.link, String(member.id));
  if (page && member.id !== status.self) row.link.href = page;
  else row.link.removeAttribute('href');
  row.self.hidden = member.id !== status.self;
  setText(row.url, String(member.url ?? ''));
  const below = [member.role, member.in_layout ? '' : 'not in the layout'].filter(Boolean).join(', ');
  const state = member.state === 'active' ? '' : `, ${member.state}`;
  fill(row.cells.state, (member.alive ? 'alive' : 'dead') + state, below,
    `dotted ${!member.alive ? 'bad' : state ? 'warn' : 'good'}`);
  row.element.classList.toggle('dead', !member.alive);
  if (member.alive) {
    const own = rates.get(member.id);
    const load = own ? `↑ ${rateText(newest(own.sent))}  ↓ ${rateText(newest(own.received))}` : '–';
    const open = [counted(count(member.uploads), 'upload', 'uploads') + ' open'];
    if (count(member.requests) > 0) open.unshift(counted(member.requests, 'request', 'requests'));
    fill(row.cells.load, load, open.join(', '));
    // What a quiet member said last may be long ago, and then it is less behind than that.
    const known = count(member.lag) === 0 || member.id === status.self;
    fill(row.cells.behind, count(member.lag) === 0 ? 'no' : counted(member.lag, 'revision', 'revisions'),
      known ? '' : 'as it last said');
  } else {
    fill(row.cells.load, '–');
    fill(row.cells.behind, '–');
  }
  fillDisk(row, member);
  const content = contentOf(member, single);
  fill(row.cells.content, content.text, content.detail, content.kind);
  fill(row.cells.stop, member.may_stop ? 'yes' : 'no', member.may_stop ? '' : String(member.may_stop_reason ?? ''),
    member.may_stop ? 'good' : '');
  fill(row.cells.version, String(member.version ?? ''));
}

function showCharts(status, rates) {
  const charts = [...rates].map(([id, own]) => ({key: `member ${id}`, name: id, ...own}));
  const stepSeconds = count(status.history?.step_seconds);
  const top = topOf(charts.flatMap((chart) => [chart.sent, chart.received]));
  if (charts.length > 1) {
    const sent = sumOf(charts.map((chart) => chart.sent));
    const received = sumOf(charts.map((chart) => chart.received));
    charts.unshift({key: 'total', name: 'All members', sent, received, top: topOf([sent, received])});
  }
  const minutes = Math.round((steps * stepSeconds) / 60);
  keyed(byId('charts'), charts, (chart) => chart.key, (chart) => {
    const made = makeChart(chart.key === 'total' ? 'total' : 'one');
    made.figure.dataset.chart = chart.key === 'total' ? 'total' : chart.name;
    return {element: made.figure, update: made.update};
  }, (child, chart) => child.update({top, ...chart, steps, minutes}));
}

function createLack() {
  const element = make('li');
  const name = make('strong');
  const text = make('span');
  const progress = make('progress');
  progress.max = 1;
  const details = make('details');
  const summary = make('summary');
  const digests = make('ul');
  details.append(summary, digests);
  element.append(name, ' ', text, progress, details);
  return {element, name, text, progress, details, summary, digests};
}

function fillLack(child, member, single) {
  setText(child.name, String(member.id));
  setText(child.text, repairText(member, single));
  child.element.className = contentOf(member, single).kind;
  const owed = count(member.repair?.owed_bytes);
  const fetched = count(member.repair?.fetched_bytes);
  child.progress.hidden = owed === 0;
  child.progress.value = owed === 0 ? 0 : fetched / (fetched + owed);
  child.progress.setAttribute('aria-label', `fetched by ${member.id}, of that and what is missing`);
  const digests = list(member.holds?.left_out_digests).map(String);
  const all = Math.max(count(member.holds?.left_out), digests.length);
  child.details.hidden = all === 0;
  const first = `the first ${digests.length} of ${all} digests`;
  setText(child.summary, all > digests.length ? first : counted(all, 'digest', 'digests'));
  keyed(child.digests, digests, (digest) => digest, (digest) => ({element: make('li', 'digest', digest)}), () => {});
}

function showFacts(status) {
  const metadata = status.metadata ?? {};
  const inLayout = counted(list(status.layout?.members).length, 'member', 'members');
  const facts = [['Revision', numberText(status.revision)],
    ['Layout', `number ${count(status.layout?.number)}, of ${inLayout}`]];
  if (isSingle(status)) {
    facts.unshift(['Store', 'this node’s own database']);
  } else {
    const reachable = `etcd ${metadata.version}, reachable`;
    facts.unshift(['Store', metadata.reachable ? reachable : 'not reachable from this node']);
    const [loaded, at, of] = [metadata.loaded_keys, metadata.applied, metadata.target].map(numberText);
    facts.push(['This view', metadata.loading ? `loading, ${loaded} records so far` : `at ${at} of ${of}`]);
    facts.push(['Size', sizeText(count(metadata.db_size)) + (metadata.out_of_space ? ', nearly full' : '')]);
    if (metadata.alarm) facts.push(['Alarm', String(metadata.alarm)]);
  }
  keyed(byId('metadata'), facts, ([name]) => name, ([name]) => {
    const element = make('div');
    const value = make('dd');
    element.append(make('dt', '', name), value);
    return {element, value};
  }, (child, [, value]) => setText(child.value, value));
  const voters = list(status.voters?.members);
  byId('voters').hidden = voters.length === 0;
  keyed(byId('voters').tBodies[0], voters, (voter) => String(voter.member), () => {
    const element = make('tr');
    const cells = ['th', 'td', 'td', 'td'].map((name) => make(name));
    cells[0].scope = 'row';
    cells[3].className = 'number';
    element.append(...cells);
    return {element, cells};
  }, (child, voter) => {
    setText(child.cells[0], String(voter.node || voter.member));
    setText(child.cells[1], voter.learner ? 'learner' : 'voter');
    setText(child.cells[2], voter.answers ? 'yes' : 'no');
    child.cells[2].className = voter.answers ? 'good' : 'bad';
    setText(child.cells[3], numberText(voter.applied));
  });
}

export function show(status) {
  const rates = ratesOf(status);
  const single = isSingle(status);
  const name = status.cluster ? `Cluster ${String(status.cluster).slice(0, 12)}` : 'Cluster';
  setText(byId('title'), single ? 'Single node' : name);
  setText(byId('seen-by'), `as seen by ${status.self}`);
  showAlarms(status);
  showTiles(status, rates);
  keyed(byId('members').tBodies[0], status.members, (member) => member.id, createRow,
    (row, member) => fillRow(row, member, status, rates));
  showCharts(status, rates);
  keyed(byId('lacks'), status.members, (member) => member.id, createLack,
    (child, member) => fillLack(child, member, single));
  showFacts(status);
}
