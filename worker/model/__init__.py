"""Pure words that every floor shares: values, closed sets, and the two functions that judge them."""
