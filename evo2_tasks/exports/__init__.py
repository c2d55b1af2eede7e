"""The table of scores in other formats, one file for each format.

A format is a name in ``EXPORTS`` of :mod:`evo2_tasks.layout`, and a file with that name here. The
file has the function ``write(table, out)``: it writes the table ``table`` to the file ``out``, logs
what it wrote, and returns the number of lines below the header. `vcf.py` also uses `vcf_header.py`
and `vcf_lines.py`.
"""
