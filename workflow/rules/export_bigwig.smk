# Writes the table as bigWig. A rule of its own, because its environment has one package more than that of
# `export`: in that one, the package would run all finished steps again.
rule export_bigwig:
    input:
        table="<results>/{variant_set}/{scoring}/scores.parquet",
        # The command reads here how long the contigs are.
        run="<results>/{variant_set}/{scoring}/run.json",
    output:
        bigwig="<results>/{variant_set}/{scoring}/scores.bw",
        # The command writes them next to the bigWig.
        hub="<results>/{variant_set}/{scoring}/scores.trackDb.txt",
        session="<results>/{variant_set}/{scoring}/scores.igv.xml",
    log:
        "<logs>/export_bigwig/{variant_set}/{scoring}.log",
    benchmark:
        "<benchmarks>/export_bigwig/{variant_set}/{scoring}.tsv"
    conda:
        "../../envs/tracks.yaml"
    resources:
        mem_mb=jobs.mem_mb,
        runtime=jobs.runtime,
    message:
        "Exporting as bigwig: {wildcards.variant_set}, {wildcards.scoring}"
    shell:
        "evo2-tasks export --log {log:q} --to bigwig --out {output.bigwig:q} -- {input.table:q}"
