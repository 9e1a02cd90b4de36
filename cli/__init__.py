"""The command line. Standard output carries data, standard error carries talk."""
