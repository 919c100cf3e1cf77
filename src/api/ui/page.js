// The cluster page: asks this node for /v2/_hansa/cluster, has it shown, and says when what is shown is old.
import {durationText} from './meaning.js';
import {byId, setText, show} from './sections.js';

// A relative address would carry a password of the page's own, which fetch refuses.
const source = location.origin + '/v2/_hansa/cluster';
const interval = 2000; // milliseconds between two questions
const refusedInterval = 30000; // the same, while they are refused: each costs the node the check of a password
const patience = 5000; // milliseconds for an answer

let shownAt = null; // when what is shown was told; null: never
let trouble = null; // {what, login}

const clockText = (time) => new Date(time).toLocaleTimeString();

function showConnection() {
  const banner = byId('connection');
  const state = trouble ? (trouble.login ? 'login' : 'stale') : shownAt ? 'live' : 'connecting';
  document.body.dataset.state = state;
  banner.hidden = trouble === null;
  if (trouble) {
    setText(banner.querySelector('strong'), trouble.what);
    const old = shownAt ? `What stands below is old: it is of ${clockText(shownAt)}.` : 'Nothing is known yet.';
    setText(banner.querySelector('span'), old);
    banner.querySelector('a').hidden = !trouble.login;
  }
  const seconds = shownAt ? Math.round((Date.now() - shownAt) / 1000) : 0;
  const age = seconds < 1 ? 'just now' : `${durationText(seconds)} ago`;
  setText(byId('age'), shownAt ? `${trouble ? 'old: ' : 'live, '}updated ${age}` : trouble ? 'no data' : 'connecting');
}

function fail(what, login = false) {
  trouble = {what, login};
}

// The header keeps the browser from asking for a password every two seconds: the page says so itself, and opening it
// anew asks.
async function ask() {
  let answer;
  let status;
  try {
    answer = await fetch(source, {
      cache: 'no-store', credentials: 'same-origin', signal: AbortSignal.timeout(patience),
      headers: {'Accept': 'application/json', 'X-ZOT-API-CLIENT': 'zot-ui'},
    });
    if (answer.ok) status = await answer.json();
  } catch {
    return fail('This node does not answer.');
  }
  if (answer.status === 401) return fail('You must log in to see the cluster.', true);
  if (answer.status === 403) return fail('You have no right to see the cluster.', true);
  if (!answer.ok) return fail(`This node answers with status ${answer.status}.`);
  try {
    show(status);
  } catch (error) {
    console.error(error);
    return fail('This page does not understand what the node says; load it anew.');
  }
  shownAt = Date.now();
  trouble = null;
}

async function run() {
  while (true) {
    if (!document.hidden) await ask();
    showConnection();
    await new Promise((resolve) => setTimeout(resolve, trouble?.login ? refusedInterval : interval));
  }
}

document.addEventListener('visibilitychange', () => {
  if (!document.hidden) ask().then(showConnection);
});
setInterval(showConnection, 1000);
run();
