// The frame around the 3-D view: tabs, the title, the list, what went wrong.
import { isTyping, List } from "/list.js";
import { Pair } from "/pair.js";
import { begin } from "/stage.js";

const $ = (id) => document.getElementById(id);

async function ask(path, query = {}) {
  return answer(await fetch(`${path}?${new URLSearchParams(query)}`));
}

async function tell(path, body) {
  const headers = { "Content-Type": "application/json" };
  return answer(await fetch(path, { method: "POST", headers, body: JSON.stringify(body) }));
}

async function answer(reply) {
  const value = await reply.json();
  if (!reply.ok) throw new Error(value.error);
  return value;
}

function say(text) {
  $("message").textContent = text;
}

const pair = new Pair({ ask, say });
const list = new List({ ask, tell, say, onOpen: describe, onCompare: compare });
let beside = null; // key of the sequence at the right

async function compare(key) {
  try {
    showBeside(await tell("/api/compare", { key: beside === null ? key : "" }));
  } catch (error) {
    say(error.message);
  }
}

function showBeside({ title, key }) {
  beside = key;
  $("beside").hidden = key === null;
  if (key === null) return;
  $("other-title").textContent = title;
  if (!$("other").src) $("other").src = "/3d-b/";
}

function describe(scene) {
  $("title").textContent = scene.title;
  document.title = `${scene.title} – walkaround`;
  $("tab-pair").disabled = scene.frames.length < 2;
  if (scene.frames.length < 2) choose("view");
  pair.setScene(scene);
  say("");
}

async function open() {
  try {
    const choices = await ask("/api/choices");
    if (choices.list) await list.begin(choices);
    document.querySelector(".of-list").hidden = !choices.list;
    const hasScene = !choices.list || list.current !== null;
    $("nothing").hidden = hasScene;
    $("view").hidden = !hasScene;
    if (!hasScene) return;
    const other = await ask("/api/compare");
    $("end-compare").hidden = !choices.list;
    showBeside(other); // before the 3-D view, which is then framed for the room that is left
    begin(tell);
    if (!choices.list) describe(await ask("/api/scene"));
  } catch (error) {
    say(error.message);
  }
}

function choose(name) {
  for (const tab of ["view", "pair"]) {
    $(`tab-${tab}`).setAttribute("aria-selected", tab === name);
    $(`panel-${tab}`).hidden = tab !== name;
  }
  if (name === "pair") pair.show();
}

for (const tab of ["view", "pair"]) $(`tab-${tab}`).addEventListener("click", () => choose(tab));
// Keys work wherever the focus is: those of the list in the 3-D view, those of the 3-D view beside it.
const OF_VIEW = new Set(["ArrowLeft", "ArrowRight", "f", "h", "s", "m"]);

function key(event) {
  if ($("help").open || list.key(event) || isTyping(event)) return;
  if (event.key === "?") $("help").showModal();
  else if (event.view === window && !$("panel-view").hidden && OF_VIEW.has(event.key)) {
    const inner = $("view").contentWindow;
    const { key, code } = event;
    inner.document.body.dispatchEvent(new inner.KeyboardEvent("keydown", { key, code, bubbles: true, cancelable: true }));
  }
}

document.addEventListener("keydown", key);
$("open-help").addEventListener("click", () => $("help").showModal());
for (const id of ["view", "other"]) {
  $(id).addEventListener("load", () => {
    $(id).contentWindow.addEventListener("keydown", key);
  });
}
$("end-compare").addEventListener("click", () => compare(""));
open();
