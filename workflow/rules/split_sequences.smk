# Reads a FASTA of a sequence set, one row per record, and splits it into shards of consecutive rows.
rule split_sequences:
    input:
        sequences=lookup("{sequence_set}", within=inputs.sequences),
    output:
        shards=directory("<results>/{sequence_set}/sequences"),
    log:
        "<logs>/split_sequences/{sequence_set}.log",
    benchmark:
        "<benchmarks>/split_sequences/{sequence_set}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=jobs.mem_mb,
        runtime=jobs.runtime,
    params:
        config=jobs.config,
        settings=lookup("{sequence_set}", within=settings.sequences.split_sequences),
    message:
        "Splitting the sequences of {wildcards.sequence_set}"
    shell:
        "printf '%s' {params.config:q} | evo2-tasks split-sequences --config - --log {log:q}"
        " --sequence-set {wildcards.sequence_set:q} --out {output.shards:q}"
