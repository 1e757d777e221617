// Inside Airflow's frame a link to one of Airflow's own pages would open within the frame: let the window around follow it.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-leaves]");
  if (!link || window.parent === window) return;
  event.preventDefault();
  const outside = window.parent.document.createElement("a");
  outside.href = link.href;
  outside.click();
});

// A decision is sent once, however often its button is pressed.
document.addEventListener("submit", (event) => {
  for (const button of event.target.querySelectorAll("button")) button.disabled = true;
});
