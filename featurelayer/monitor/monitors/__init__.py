"""Built-in monitors: every function with `@feature_monitor` or `@view_monitor` in a module here is one."""
