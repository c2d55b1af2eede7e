# Combines the shards into one table with a row for each input allele, in input order, and adds the
# columns of `annotate` and `carry`.
rule merge:
    input:
        windows=gather.shard(
            "<results>/{{variant_set}}/{{scoring}}/windows/{scatteritem}.parquet"
        ),
        scores=gather.shard(
            "<results>/{{variant_set}}/{{scoring}}/scores/{scatteritem}.parquet"
        ),
        runs=gather.shard(
            "<results>/{{variant_set}}/{{scoring}}/scores/{scatteritem}.json"
        ),
        shards="<results>/{variant_set}/shards",
        carried=collect(
            "<results>/{file}", file=lookup("{variant_set}", within=inputs.joined)
        ),
        # Next to the table, where the command finds it.
        audit=collect(
            "<results>/{file}",
            file=lookup("{variant_set}/{scoring}", within=inputs.audit),
        ),
        # Files that the command reads besides, if a storage plugin copies them.
        stored=lookup("{variant_set}", within=inputs.stored),
    output:
        table="<results>/{variant_set}/{scoring}/scores.parquet",
        run=report(
            "<results>/{variant_set}/{scoring}/run.json",
            caption="../report/run.rst",
            category="{variant_set}",
            labels={"scoring": "{scoring}", "file": "run"},
        ),
        # Next to the table, where the command writes it; only with a store.
        reused=expand(
            "<results>/{{variant_set}}/{{scoring}}/{file}", file=inputs.reused
        ),
    log:
        "<logs>/merge/{variant_set}/{scoring}.log",
    benchmark:
        "<benchmarks>/merge/{variant_set}/{scoring}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=jobs.mem_mb,
        runtime=jobs.runtime,
    params:
        config=jobs.config,
        settings=lookup("{variant_set}/{scoring}", within=settings.merge),
        folder=subpath(output.table, parent=True),
    message:
        "Merging the scores: {wildcards.variant_set}, {wildcards.scoring}"
    shell:
        "printf '%s' {params.config:q} | evo2-tasks merge --config - --log {log:q}"
        " --variant-set {wildcards.variant_set:q} --scoring {wildcards.scoring:q}"
        " --split {input.shards:q}/split.json"
        # The folders, not their files: a command line cannot hold the paths of a thousand shards.
        " --windows {params.folder:q}/windows --scores {params.folder:q}/scores"
        " --out {output.table:q} --run-json {output.run:q} {input.carried:q}"
