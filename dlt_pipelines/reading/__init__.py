"""Reading one original into Arrow, every cell as text, in a child process with limits."""
