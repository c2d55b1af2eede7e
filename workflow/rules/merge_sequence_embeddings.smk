# Combines the embeddings of a layer of all shards into one table with a row for each record of the FASTA.
rule merge_sequence_embeddings:
    input:
        shards="<results>/{sequence_set}/sequences",
        embeddings=gather.shard(
            "<results>/{{sequence_set}}/{{scoring}}/sequence_embeddings/{scatteritem}.parquet"
        ),
        runs=gather.shard(
            "<results>/{{sequence_set}}/{{scoring}}/sequence_embeddings/{scatteritem}.json"
        ),
    output:
        table="<results>/{sequence_set}/{scoring}/embeddings/{layer}.parquet",
        run="<results>/{sequence_set}/{scoring}/embeddings/{layer}.json",
    log:
        "<logs>/merge_sequence_embeddings/{sequence_set}/{scoring}/{layer}.log",
    benchmark:
        "<benchmarks>/merge_sequence_embeddings/{sequence_set}/{scoring}/{layer}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=jobs.mem_mb,
        runtime=jobs.runtime,
    params:
        config=jobs.config,
        settings=lookup(
            "{sequence_set}/{scoring}/{layer}",
            within=settings.merge_sequence_embeddings,
        ),
        folder=subpath(input.shards, parent=True),
    message:
        "Merging embeddings of sequences: {wildcards.sequence_set}, {wildcards.scoring}, {wildcards.layer}"
    shell:
        "printf '%s' {params.config:q} | evo2-tasks merge-sequence-embeddings --config - --log {log:q}"
        " --sequence-set {wildcards.sequence_set:q} --scoring {wildcards.scoring:q}"
        " --layer {wildcards.layer:q} --split {input.shards:q}/split.json"
        " --embeddings {params.folder:q}/{wildcards.scoring:q}/sequence_embeddings"
        " --out {output.table:q} --run-json {output.run:q}"
