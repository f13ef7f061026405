//! robot.toml: the one description of a robot, its limits and its task.
