// Makes the words of the tab Classify act. `element`, `trigger` and `watch` are Gradio's.
const wordOf = (event) => event.target.closest("[data-word]");
const wordsBeside = (word) => [...word.parentElement.querySelectorAll("[data-word]")];
let struck = null;

const readOut = (word) => {
  word.closest("section").querySelector("output").textContent = word.title;
};

// One stop of the Tab key for each text, and the arrow keys within it.
const enter = () => {
  for (const text of element.querySelectorAll(".text")) {
    text.querySelector("[data-word]")?.setAttribute("tabindex", "0");
  }
};

const moveTo = (word) => {
  for (const other of wordsBeside(word)) other.setAttribute("tabindex", "-1");
  word.setAttribute("tabindex", "0");
  word.focus();
};

element.addEventListener("mouseover", (event) => wordOf(event) && readOut(wordOf(event)));
element.addEventListener("focusin", (event) => wordOf(event) && readOut(wordOf(event)));

element.addEventListener("click", (event) => {
  const word = wordOf(event);
  if (!word) return;
  struck = { word: word.dataset.word, text: word.parentElement.getAttribute("aria-label") };
  trigger("select", { word: Number(word.dataset.word) });
});

element.addEventListener("keydown", (event) => {
  const word = wordOf(event);
  if (!word) return;
  const all = wordsBeside(word);
  const place = all.indexOf(word);
  const places = { ArrowRight: place + 1, ArrowLeft: place - 1, Home: 0, End: all.length - 1 };
  const next = all[places[event.key]];
  if (!next) return;
  event.preventDefault();
  moveTo(next);
});

// A new answer has new buttons: the focus goes back to the word that asked for it.
watch("value", () => {
  enter();
  if (!struck) return;
  for (const text of element.querySelectorAll(".text")) {
    if (text.getAttribute("aria-label") !== struck.text) continue;
    const word = text.querySelector(`[data-word="${struck.word}"]`);
    if (word) moveTo(word);
  }
  struck = null;
});

enter();
