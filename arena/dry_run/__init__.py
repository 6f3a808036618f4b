"""What a run will take, before anything is paid: calls, tokens, dollars, plans side by side."""
