// SPDX-License-Identifier: Apache-2.0
// The page of the admin listener: reads /api/… (docs/api.md) and shows it. Names of keys are whatever
// clients chose: they become text nodes (textContent) and nothing else, here and everywhere.
'use strict';

const ROWS_MAX = 300, NODES_MAX = 256, ARCS_MAX = 64, LANES_MAX = 16, LINES_MAX = 20, EVENTS_SHOWN = 50;
const RATIO_MS = 60000, PATIENCE_MS = 4000, FAST_MS = 1000, SLOW_EACH = 5;
const $ = id => document.getElementById(id);
const now = {summary: null, nodes: [], events: [], rows: [], past: [], sort: 'name', down: false, charts: []};

/* ---- words ---- */

const count = n => n === undefined ? '–' : n < 10000 ? String(Math.round(n)) :
  n < 1e6 ? (n / 1e3).toFixed(1) + 'k' : n < 1e9 ? (n / 1e6).toFixed(1) + 'M' : (n / 1e9).toFixed(1) + 'G';
function bytes(n) {
  if (n === undefined)
    return '–';
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  let unit = 0;
  for (; n >= 1024 && unit < units.length - 1; unit++)
    n /= 1024;
  return (unit && n < 100 ? n.toFixed(1) : Math.round(n)) + ' ' + units[unit];
}
const micros = n => n === undefined ? '–' : n < 1000 ? Math.round(n) + ' µs' :
  n < 1e6 ? (n / 1e3).toFixed(1) + ' ms' : (n / 1e6).toFixed(1) + ' s';
const span = ms => ms < 60000 ? Math.round(ms / 1000) + ' s' : ms < 3600000 ? Math.round(ms / 60000) + ' min' :
  ms < 86400000 ? (ms / 3600000).toFixed(1) + ' h' : (ms / 86400000).toFixed(1) + ' d';
const percent = x => Number.isFinite(x) ? (100 * x).toFixed(1) + ' %' : '–';
const clock = ms => new Date(ms).toLocaleTimeString([], {hour12: false});
/* A name in the API has a character for each byte. What is UTF-8 is shown as that; what cannot be seen, or
 * would turn the text around, as its code. */
function readable(name) {
  let text = name;
  try {
    text = new TextDecoder('utf-8', {fatal: true}).decode(Uint8Array.from(name, c => c.charCodeAt(0)));
  } catch (error) { /* other bytes stay as they are */ }
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
    c => '\\u' + c.charCodeAt(0).toString(16).padStart(4, '0'));
}
const colour = name => getComputedStyle(document.documentElement).getPropertyValue('--' + name).trim();

/* ---- elements ---- */

function make(tag, text, attributes) {
  const e = document.createElement(tag);
  if (text !== undefined)
    e.textContent = text;
  for (const [name, value] of Object.entries(attributes || {}))
    e.setAttribute(name, value);
  return e;
}

function draw(tag, attributes, title) {
  const e = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes))
    e.setAttribute(name, value);
  if (title !== undefined)
    e.appendChild(document.createElementNS('http://www.w3.org/2000/svg', 'title')).textContent = title;
  return e;
}

/* Only what has changed: a screen reader and a selection keep their place. */
function put(e, text) {
  if (e.textContent !== text)
    e.textContent = text;
}

function fill(table, heads, rows, empty) {
  const head = make('tr'), body = make('tbody'), isName = i => i === 0 || heads[i] === 'Key';
  heads.forEach((h, i) => head.append(make('th', h, {scope: 'col', class: isName(i) ? 'word' : ''})));
  for (const cells of rows) {
    const row = body.appendChild(make('tr'));
    cells.forEach((cell, i) => row.append(make('td', cell, isName(i) ? {class: 'key', title: cell} : {})));
  }
  if (rows.length === 0)
    body.appendChild(make('tr')).append(make('td', empty, {colspan: heads.length}));
  const thead = make('thead');
  thead.append(head);
  table.replaceChildren(thead, body);
}

/* ---- the sum ---- */

/* Since a minute ago, or since the page was opened. */
function hitRatio(s) {
  const reads = t => [t.outcomes.read.hit + (t.mget_hits || 0),
    t.outcomes.read.miss + t.outcomes.read.failover_miss + (t.mget_misses || 0)];
  const [hits, misses] = reads(s), [h0, m0] = now.past.length ? reads(now.past[0]) : [0, 0];
  const recent = (hits - h0) / (hits - h0 + misses - m0), ever = hits / (hits + misses);
  return [Number.isFinite(recent) ? recent : ever, ever];
}

function showSum(s) {
  const last = s.last_second || {}, [recent, ever] = hitRatio(s);
  const failed = ['read', 'write', 'other'].reduce((sum, c) => sum + s.outcomes[c].failed, 0);
  const figures = [
    ['memory', 'Memory used', bytes(s.memory_used), 'of ' + (s.memory_max ? bytes(s.memory_max) : 'no limit')],
    ['hits', 'Hit ratio', percent(recent), percent(ever) + ' since the start'],
    ['requests', 'Requests/s', count(last.requests || 0), count(s.requests) + ' in all'],
    ['p99', 'p99', micros(last.p99_us || 0), 'p50 ' + micros(last.p50_us || 0)],
    ['errors', 'Errors/s', count(last.failed || 0), count(failed) + ' in all'],
    ['keys', 'Keys', count(s.keys), count(s.evicted) + ' evicted'],
    ['clients', 'Clients', count(s.clients), count(s.in_flight) + ' requests in flight'],
    ['in-ring', 'Nodes in the ring', String(s.nodes_in_ring), s.nodes_out + ' out'],
  ];
  const list = $('sum');
  for (const [id, name, value, more] of figures) {
    let dd = $('sum-' + id);
    if (!dd) {
      const div = list.appendChild(make('div'));
      div.append(make('dt', name));
      dd = div.appendChild(make('dd', '', {id: 'sum-' + id}));
      dd.append(make('span'), make('small'));
      if (id === 'memory')
        div.append(make('meter', undefined, {id: 'meter', min: 0, max: 1, high: 0.95, 'aria-label': 'memory used of total'}));
    }
    put(dd.firstChild, value);
    put(dd.lastChild, more);
  }
  $('sum-errors').className = last.failed > 0 ? 'bad' : '';
  $('sum-in-ring').className = s.nodes_out > 0 ? 'warn' : '';
  $('meter').value = s.memory_max ? s.memory_used / s.memory_max : 0;
  put($('version'), s.version);
  say(s.ready ? 'ready, up for ' + span(s.uptime_ms) : 'not ready', s.ready ? 'good' : 'bad');
}

function say(text, kind) {
  $('state').className = kind;
  put($('state'), text);
}

/* ---- charts ---- */

const CHARTS = [
  {title: 'Requests a second', words: count,
    lines: [['requests', 'blue', 'all'], ['failed', 'red', 'failed'], ['failover_misses', 'amber', 'failed-over misses']]},
  {title: 'Time of a request', lines: [['p99_us', 'violet', 'p99'], ['p50_us', 'blue', 'p50']], words: micros},
  {title: 'Memory of the nodes', lines: [['memory_used', 'blue', 'used'], ['memory_max', 'green', 'in all']], words: bytes},
  {title: 'Bytes a second', lines: [['bytes_in', 'green', 'from clients'], ['bytes_out', 'blue', 'to clients']], words: bytes},
];

function makeCharts() {
  if (!window.Chart) {
    $('no-charts').hidden = false;
    return;
  }
  for (const c of CHARTS) {
    const figure = $('charts').appendChild(make('figure')), box = make('div');
    const canvas = box.appendChild(make('canvas', undefined, {role: 'img', 'aria-label': c.title}));
    figure.append(make('figcaption', c.title), box);
    now.charts.push({canvas, of: c, chart: new Chart(canvas, {
      type: 'line',
      data: {datasets: c.lines.map(([, , label]) => ({label, data: [], borderWidth: 1.5, pointRadius: 0}))},
      options: {
        animation: false, parsing: false, normalized: true, maintainAspectRatio: false,
        interaction: {mode: 'index', intersect: false},
        plugins: {legend: {labels: {boxWidth: 10}}, tooltip: {callbacks: {
          title: items => items.length ? clock(items[0].parsed.x) : '',
          label: item => item.dataset.label + ': ' + c.words(item.parsed.y)}}},
        scales: {x: {type: 'linear', ticks: {maxTicksLimit: 4, maxRotation: 0, callback: clock}},
          y: {beginAtZero: true, ticks: {maxTicksLimit: 5, callback: c.words}}},
      },
    })});
  }
  colourCharts();
}

function colourCharts() {
  for (const {chart, of} of now.charts) {
    of.lines.forEach(([, name], i) => { chart.data.datasets[i].borderColor = chart.data.datasets[i].backgroundColor = colour(name); });
    chart.options.plugins.legend.labels.color = colour('text');
    for (const axis of ['x', 'y']) {
      chart.options.scales[axis].ticks.color = colour('faint');
      chart.options.scales[axis].grid = {color: colour('line')};
    }
    chart.update();
  }
}

function showCharts() {
  for (const {chart, canvas, of} of now.charts) {
    of.lines.forEach(([member], i) => { chart.data.datasets[i].data = now.rows.map(r => ({x: r.at_ms, y: r[member]})); });
    chart.update();
    const last = now.rows[now.rows.length - 1];
    if (last)
      canvas.setAttribute('aria-label', of.title + ': ' + of.lines.map(([m, , label]) => label + ' ' + of.words(last[m])).join(', '));
  }
}

function addRow(row) {
  if (row && (now.rows.length === 0 || row.at_ms > now.rows[now.rows.length - 1].at_ms))
    now.rows.push(row);
  now.rows.splice(0, now.rows.length - ROWS_MAX);
}

/* ---- nodes ---- */

const COLUMNS = [
  ['name', 'Node', n => n.name], ['state', 'State', n => n.state + (n.reason ? ' (' + n.reason + ')' : '')],
  ['since_ms', 'For', n => span(n.since_ms)], ['share', 'Share', n => percent(n.share)],
  ['memory_used', 'Memory', n => bytes(n.memory_used) + (n.memory_max ? ' of ' + bytes(n.memory_max) : '')],
  ['keys', 'Keys', n => count(n.keys)], ['first_byte_p50_us', 'p50', n => micros(n.first_byte_p50_us)],
  ['first_byte_p99_us', 'p99', n => micros(n.first_byte_p99_us)], ['check_us', 'Check', n => micros(n.check_us)],
  ['in_flight', 'In flight', n => count(n.in_flight)], ['commands_per_second', 'Commands/s', n => count(n.commands_per_second)],
];

function makeNodes() {
  const head = make('tr'), thead = make('thead');
  for (const [member, name] of COLUMNS) {
    const th = head.appendChild(make('th', undefined, {scope: 'col', class: member === 'state' ? 'word' : ''}));
    const button = th.appendChild(make('button', name, {type: 'button', 'data-member': member}));
    button.addEventListener('click', () => {
      now.down = now.sort === member ? !now.down : false;
      now.sort = member;
      showNodes();
    });
  }
  thead.append(head);
  $('nodes').append(thead, make('tbody'));
}

function showNodes() {
  const key = n => n[now.sort] === undefined ? '' : n[now.sort];
  const order = (a, b) => key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : a.name < b.name ? -1 : 1;
  const sorted = now.nodes.slice().sort((a, b) => now.down ? order(b, a) : order(a, b));
  const body = $('nodes').tBodies[0], kinds = {up: 'good', out: 'bad', joining: 'warn', leaving: 'warn', new: ''};
  body.replaceChildren(...sorted.slice(0, NODES_MAX).map(n => {
    const row = make('tr', undefined, {'data-node': n.name});
    COLUMNS.forEach(([member, , words]) => row.append(
      make('td', words(n), member === 'name' ? {class: 'key', title: n.name} : member === 'state' ? {class: 'word ' + (kinds[n.state] || '')} : {})));
    return row;
  }));
  for (const button of $('nodes').querySelectorAll('th button'))
    button.parentNode.setAttribute('aria-sort', button.dataset.member !== now.sort ? 'none' : now.down ? 'descending' : 'ascending');
  const more = sorted.length - NODES_MAX;
  put($('nodes-more'), more > 0 ? more + ' more are not shown: /api/nodes has them' : '');
}

/* ---- the ring ---- */

function arc(from, to) {
  const at = (share, r) => (r * Math.sin(2 * Math.PI * share)).toFixed(2) + ' ' + (-r * Math.cos(2 * Math.PI * share)).toFixed(2);
  const end = Math.min(to, from + 0.99999), large = end - from > 0.5 ? 1 : 0;
  return `M${at(from, 100)}A100 100 0 ${large} 1 ${at(end, 100)}L${at(end, 66)}A66 66 0 ${large} 0 ${at(from, 66)}Z`;
}

function showRing() {
  const inside = now.nodes.filter(n => n.share > 0).sort((a, b) => b.share - a.share);
  const shown = inside.slice(0, ARCS_MAX).sort((a, b) => a.name < b.name ? -1 : 1);
  const rest = inside.slice(ARCS_MAX).reduce((sum, n) => sum + n.share, 0);
  const parts = [];
  let from = 0;
  shown.forEach((n, i) => {
    parts.push(draw('path', {d: arc(from, from + n.share), fill: `hsl(${Math.round(360 * i / shown.length + 210) % 360} 55% 52%)`,
      stroke: colour('card'), 'stroke-width': 1.5}, n.name + ': ' + percent(n.share) + ', ' + n.state));
    if (n.share > 0.06) {
      const turn = 2 * Math.PI * (from + n.share / 2);
      const label = draw('text', {x: 83 * Math.sin(turn), y: -83 * Math.cos(turn) + 3, 'text-anchor': 'middle', 'font-size': 8, class: 'label'});
      label.textContent = percent(n.share);
      parts.push(label);
    }
    from += n.share;
  });
  if (rest > 0)
    parts.push(draw('path', {d: arc(from, from + rest), class: 'fill-gone'}, 'others: ' + percent(rest)));
  const out = now.nodes.filter(n => !n.in_ring).length;
  [[-2, inside.length + ' in', 20], [20, out + ' out', 13]].forEach(([y, words, size]) => {
    const text = draw('text', {x: 0, y, 'text-anchor': 'middle', 'font-size': size});
    text.textContent = words;
    parts.push(text);
  });
  $('ring').replaceChildren(...parts);
  $('ring').setAttribute('aria-label', `${inside.length} nodes in the ring, ${out} out: ` +
    shown.slice(0, LINES_MAX).map(n => n.name + ' ' + percent(n.share)).join(', '));
}

/* ---- what happened ---- */

function showEvents() {
  const events = now.events, list = $('events'), end = now.summary.at_ms;
  const lines = events.slice(-EVENTS_SHOWN).reverse().map(e => {
    const li = make('li');
    li.append(make('time', clock(e.at_ms), {datetime: new Date(e.at_ms).toISOString()}),
      ` ${e.node}: ${e.from} → `, make('strong', e.to, {class: e.to === 'out' ? 'bad' : e.to === 'up' ? 'good' : ''}),
      e.reason ? ` (${e.reason})` : '');
    return li;
  });
  list.replaceChildren(...(lines.length ? lines : [make('li', 'nothing yet')]));
  /* A lane for each of the nodes that something happened to last. */
  const lanes = [...new Set(events.slice().reverse().map(e => e.node))].slice(0, LANES_MAX).sort();
  const start = events.length ? Math.min(events[0].at_ms, end - 60000) : end - 60000;
  const x = at => 150 + 640 * (at - start) / Math.max(1, end - start), parts = [];
  lanes.forEach((node, lane) => {
    const mine = events.filter(e => e.node === node), y = 4 + 22 * lane;
    const label = draw('text', {x: 0, y: y + 13, 'font-size': 12}, node);
    label.append(node.length > 21 ? node.slice(0, 20) + '…' : node);
    parts.push(label);
    [{at_ms: start, to: mine[0].from}, ...mine].forEach((e, i) => {
      const until = i < mine.length ? mine[i].at_ms : end;
      parts.push(draw('rect', {x: x(e.at_ms), y, width: Math.max(1.5, x(until) - x(e.at_ms)), height: 16, class: 'fill-' + e.to},
        `${node}: ${e.to} from ${clock(e.at_ms)}` + (e.reason ? ` (${e.reason})` : '')));
    });
  });
  const foot = 20 + 22 * lanes.length;
  [[150, 'start', start], [790, 'end', end]].forEach(([at, anchor, ms]) => {
    const text = draw('text', {x: at, y: foot, 'text-anchor': anchor, 'font-size': 12});
    text.textContent = clock(ms);
    parts.push(text);
  });
  $('timeline').setAttribute('viewBox', `0 0 800 ${foot + 6}`);
  $('timeline').toggleAttribute('hidden', lanes.length === 0);
  $('timeline').replaceChildren(...parts);
}

/* ---- keys and slow requests ---- */

function showKeys(k) {
  const name = e => readable(e.key) + (e.cut ? '…' : '');
  const ratio = e => percent(e.hits / (e.hits + e.misses));
  const none = k.sample_each ? 'nothing yet' : 'off: admin.sample_each';
  for (const [id, what, list] of [['prefixes', 'Prefix', k.prefixes], ['hot', 'Key', k.hot]])
    fill($(id), [what, 'Seen', 'Hit ratio', 'Longest'],
      list.slice(0, LINES_MAX).map(e => [name(e), count(e.count), ratio(e), bytes(e.bytes)]), none);
  fill($('largest'), ['Key', 'Length'], k.largest.slice(0, LINES_MAX).map(e => [name(e), bytes(e.bytes)]), none);
}

function showSlow(s) {
  const key = e => e.key === null ? '–' : readable(e.key) + (e.cut ? '… (' + bytes(e.key_bytes) + ')' : '') +
    (e.keys > 1 ? ' and ' + (e.keys - 1) + ' more' : '');
  fill($('slow'), ['Command', 'Key', 'At', 'Result', 'Node', 'Client', 'Total', 'Queue', 'Node took', 'Rest', 'In', 'Out'],
    s.entries.slice(0, LINES_MAX).map(e => [e.command.replace('|', ' '), key(e), clock(e.at_ms), e.result, e.node || '–', e.client,
      micros(e.total_us), micros(e.queue_us), micros(e.node_us), micros(e.rest_us), bytes(e.bytes_in), bytes(e.bytes_out)]),
    s.slow_above_us ? 'none took ' + micros(s.slow_above_us) : 'off: admin.slow_above');
}

/* ---- asking ---- */

async function ask(path) {
  const stop = new AbortController(), timer = setTimeout(() => stop.abort(), PATIENCE_MS);
  try {
    const answer = await fetch('/api/' + path, {signal: stop.signal, cache: 'no-store'});
    if (!answer.ok)
      throw new Error(answer.status + ' ' + (await answer.text()).trim());
    return await answer.json();
  } finally {
    clearTimeout(timer);
  }
}

async function step(turn) {
  const [summary, nodes, events] = await Promise.all([ask('summary'), ask('nodes'), ask('events')]);
  /* Another process, or seconds that passed while nobody looked. */
  const last = now.rows[now.rows.length - 1], row = summary.last_second;
  if (now.summary && summary.uptime_ms < now.summary.uptime_ms)
    now.past = [];
  if (!last || (row && row.at_ms - last.at_ms > 1500) || (now.summary && summary.uptime_ms < now.summary.uptime_ms))
    now.rows = (await ask('history')).rows;
  Object.assign(now, {summary, nodes: nodes.nodes, events: events.events});
  addRow(row);
  showSum(summary);
  showNodes();
  showRing();
  showEvents();
  showCharts();
  now.past.push(summary);
  while (now.past.length > 1 && summary.at_ms - now.past[0].at_ms > RATIO_MS)
    now.past.shift();
  if (turn % SLOW_EACH === 0) {
    const [keys, slow] = await Promise.all([ask('keys'), ask('slowlog')]);
    showKeys(keys);
    showSlow(slow);
  }
}

async function run() {
  for (let turn = 0; ; turn++) {
    if (!document.hidden) {
      try {
        await step(turn);
      } catch (error) {
        say('cannot be asked: ' + error.message, 'bad');
        turn = -1;
      }
    }
    await new Promise(done => setTimeout(done, FAST_MS));
  }
}

async function where(event) {
  event.preventDefault();
  const answer = $('where-answer');
  try {
    const w = await ask('where?key=' + encodeURIComponent($('where-key').value));
    put(answer, w.node === null ? 'There is no node.' : `${readable(w.key)} is at ${w.node} (${w.state}), slot ${w.slot}` +
      (w.at_home ? '' : '; its own node is away') + (w.fenced ? '; its reads are misses just now' : '') + '.');
  } catch (error) {
    put(answer, 'Cannot be found: ' + error.message);
  }
}

/* ---- light and dark ---- */

const THEMES = [['', 'Theme: as the system'], ['dark', 'Theme: dark'], ['light', 'Theme: light']];

function setTheme(theme) {
  const [value, words] = THEMES.find(t => t[0] === theme) || THEMES[0];
  document.documentElement.dataset.theme = value;
  put($('theme'), words);
  try {
    localStorage.setItem('theme', value);
  } catch (error) { /* not kept then */ }
  colourCharts();
  if (now.summary)
    showRing();
}

function storedTheme() {
  try {
    return localStorage.getItem('theme') || '';
  } catch (error) {
    return '';
  }
}

function nextTheme() {
  const at = THEMES.findIndex(t => t[0] === document.documentElement.dataset.theme);
  setTheme(THEMES[(at + 1) % THEMES.length][0]);
}

makeNodes();
makeCharts();
setTheme(storedTheme());
$('theme').addEventListener('click', nextTheme);
$('where-form').addEventListener('submit', where);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => setTheme(storedTheme()));
document.addEventListener('keydown', event => {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA)$/.test(event.target.tagName))
    return;
  if (event.key === '/') {
    event.preventDefault();
    $('where-key').focus();
  } else if (event.key === 't') {
    nextTheme();
  }
});
run();
