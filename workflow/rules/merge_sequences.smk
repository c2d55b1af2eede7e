# Combines the shards of a sequence set into one table with a row for each record of the FASTA.
rule merge_sequences:
    input:
        shards="<results>/{sequence_set}/sequences",
        scores=gather.shard(
            "<results>/{{sequence_set}}/{{scoring}}/sequence_scores/{scatteritem}.parquet"
        ),
        runs=gather.shard(
            "<results>/{{sequence_set}}/{{scoring}}/sequence_scores/{scatteritem}.json"
        ),
    output:
        table="<results>/{sequence_set}/{scoring}/sequences.parquet",
        run="<results>/{sequence_set}/{scoring}/sequences.json",
    log:
        "<logs>/merge_sequences/{sequence_set}/{scoring}.log",
    benchmark:
        "<benchmarks>/merge_sequences/{sequence_set}/{scoring}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=jobs.mem_mb,
        runtime=jobs.runtime,
    params:
        config=jobs.config,
        settings=lookup(
            "{sequence_set}/{scoring}", within=settings.sequences.merge_sequences
        ),
        folder=subpath(output.table, parent=True),
    message:
        "Merging the sequences: {wildcards.sequence_set}, {wildcards.scoring}"
    shell:
        "printf '%s' {params.config:q} | evo2-tasks merge-sequences --config - --log {log:q}"
        " --sequence-set {wildcards.sequence_set:q} --scoring {wildcards.scoring:q}"
        " --split {input.shards:q}/split.json --scores {params.folder:q}/sequence_scores"
        " --out {output.table:q} --run-json {output.run:q}"
