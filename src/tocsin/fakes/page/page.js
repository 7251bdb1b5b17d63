// Keeps the page fresh and sends what its buttons say. Without it the page still shows what arrived when it was loaded.

const REPLACED = ["state", "buttons", "requests"];
const live = document.getElementById("live");

/** Takes over what a newer page shows; what has not changed stays, with its frames and opened parts. */
function take(newer) {
  for (const name of ["discord", "telegram", "smtp"]) {
    for (const part of REPLACED) {
      const [old, next] = [document, newer].map((each) => each.getElementById(`${part}-${name}`));
      // What is the same keeps the focus of whoever is at its buttons.
      if (old.outerHTML !== next.outerHTML) old.replaceWith(next);
    }
    const list = document.getElementById(`arrived-${name}`);
    const kept = new Map([...list.children].map((each) => [`${each.id} ${each.dataset.version}`, each]));
    const next = [...newer.getElementById(`arrived-${name}`).children];
    const wanted = new Set(next.map((each) => `${each.id} ${each.dataset.version}`));
    for (const [key, each] of kept) if (!wanted.has(key)) each.remove();
    // Moving a frame would load it anew, so only what is new is put in, before what it stands above.
    let below = list.firstElementChild;
    for (const each of next) {
      const known = kept.get(`${each.id} ${each.dataset.version}`);
      if (known !== undefined && known === below) below = below.nextElementSibling;
      else list.insertBefore(known ?? document.importNode(each, true), below);
    }
  }
}

let fetching = false;
let again = false;

async function refresh() {
  if (fetching) {
    again = true;
    return;
  }
  fetching = true;
  try {
    const answer = await fetch("/");
    take(new DOMParser().parseFromString(await answer.text(), "text/html"));
  } finally {
    fetching = false;
    if (again) {
      again = false;
      refresh();
    }
  }
}

async function send(name, orders) {
  const headers = { "content-type": "application/json" };
  const answer = await fetch(`/_control/${name}`, { method: "POST", headers, body: orders });
  live.textContent = answer.ok ? "" : (await answer.json()).detail;
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-control]");
  if (button) send(button.dataset.control, button.dataset.orders);
});

document.addEventListener("submit", (event) => {
  const form = event.target.closest("[data-do]");
  if (!form) return;
  event.preventDefault();
  const given = new FormData(form);
  const start = { token: given.get("token").trim(), chat_id: Number(given.get("chat_id")) };
  send(form.dataset.do, JSON.stringify({ do: { start } }));
});

const changes = new EventSource("/changes");
changes.addEventListener("message", refresh);
changes.addEventListener("open", () => { live.textContent = ""; });
changes.addEventListener("error", () => { live.textContent = "The fakes do not answer; waiting for them."; });
