"""What analysis finds and figures draw: named arrays, and the checks that they agree."""
