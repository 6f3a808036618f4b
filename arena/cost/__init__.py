"""What a model costs to own: dollars a month, and which model to take."""
