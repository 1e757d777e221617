// Inside Airflow's frame a link to one of Airflow's own pages would open within the frame: let the window around follow it.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-leaves]");
  if (!link || window.parent === window) return;
  event.preventDefault();
  const outside = window.parent.document.createElement("a");
  outside.href = link.href;
  outside.click();
});

// A decision is sent once, however often its button is pressed; who comes back to the page may decide again.
document.addEventListener("submit", (event) => {
  for (const button of event.target.querySelectorAll("button")) button.disabled = true;
});
window.addEventListener("pageshow", () => {
  for (const button of document.querySelectorAll("form button")) button.disabled = false;
});

// Files may be dropped anywhere on a page that takes some.
const files = () => document.querySelector("[data-upload] input[type=file]");
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    if (!files()) return;
    event.preventDefault();
    files().closest("label").classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) files().files = event.dataTransfer.files;
  });
}

// Sent in the background, an upload shows how far it is; without scripts the form is an ordinary one.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches("[data-upload]")) return;
  event.preventDefault();
  const bar = form.querySelector("progress");
  const show = (problem) => {
    form.querySelector("[data-problem]").textContent = problem;
    bar.hidden = problem !== "";
    for (const button of form.querySelectorAll("button")) button.disabled = problem === "";
  };
  const bytes = [...files().files].reduce((sum, file) => sum + file.size, 0);
  if (bytes > Number(form.dataset.largest)) return show(form.dataset.tooLarge);
  show("");
  const request = new XMLHttpRequest();
  request.upload.addEventListener("progress", (sent) => { bar.value = sent.loaded / sent.total; });
  request.addEventListener("error", () => show(form.dataset.lost));
  request.addEventListener("load", () => {
    if (request.status < 400) return window.location.assign(request.responseURL);
    try { show(JSON.parse(request.responseText).detail); } catch { show(form.dataset.lost); }
  });
  request.open("POST", form.action);
  request.setRequestHeader("Accept", "application/json");
  request.send(new FormData(form));
});
