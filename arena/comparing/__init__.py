"""One model against another: where the new one loses, and whether it is surely worse."""
