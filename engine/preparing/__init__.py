"""Models in other precisions: what was asked for (records), how it is made (preparations), and the child process that
makes and measures it (job, evaluation)."""
