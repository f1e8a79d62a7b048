"""The stores, one module each: `connect(url)` returns it. Imported only when an address names them."""
