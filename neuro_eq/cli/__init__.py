"""The command line.  Modules here import only what ``--help`` needs; everything heavy is imported by the command."""
