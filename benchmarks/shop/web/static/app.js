/* shop @VERSION@ */
const version = "@VERSION@";

async function refreshCart() {
  const response = await fetch("cart");
  if (!response.ok) {
    return;
  }
  const cart = await response.json();
  const line = document.getElementById("cart");
  line.textContent = `${cart.user} has added ${cart.counter} to the cart.`;
  line.classList.toggle("changed", cart.version !== version);
}

document.addEventListener("visibilitychange", refreshCart);
