"""How reliable a judge is: position bias, agreement, other biases, and the level of trust."""
