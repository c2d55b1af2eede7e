"""Tables: what the files between the steps hold, and what is made of them for people."""
