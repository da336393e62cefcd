"""Settings and routes. `load` reads them, `settings` names them all."""
