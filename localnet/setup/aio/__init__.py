"""Set-up's shell: processes, files and the clock."""
