// The frame around the 3-D view: tabs, the title, what went wrong.
import { Pair } from "/pair.js";

const $ = (id) => document.getElementById(id);

export async function ask(path, query = {}) {
  const reply = await fetch(`${path}?${new URLSearchParams(query)}`);
  const value = await reply.json();
  if (!reply.ok) throw new Error(value.error);
  return value;
}

export function say(text) {
  $("message").textContent = text;
}

const pair = new Pair({ ask, say });

async function open() {
  try {
    const scene = await ask("/api/scene");
    $("title").textContent = scene.title;
    document.title = `${scene.title} – walkaround`;
    $("tab-pair").disabled = scene.frames.length < 2;
    pair.setScene(scene);
    say("");
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
open();
