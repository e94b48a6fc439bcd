"""The commands: arguments in, a call into librehps, output out."""
