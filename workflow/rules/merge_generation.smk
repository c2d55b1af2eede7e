# Combines the shards of a generation: the sequences as FASTA and as a table, and the steps.
rule merge_generation:
    input:
        prompts="<results>/generations/{generation}/prompts.parquet",
        counts="<results>/generations/{generation}/prompts.json",
        generated=collect(
            "<results>/{file}",
            file=lookup("{generation}", within=inputs.generations.generated),
        ),
        compare_with=lookup("{generation}", within=inputs.generations.compare_with),
    output:
        fasta="<results>/generations/{generation}/sequences.fa",
        table="<results>/generations/{generation}/sequences.parquet",
        steps="<results>/generations/{generation}/steps.parquet",
        run="<results>/generations/{generation}/generation.json",
    log:
        "<logs>/merge_generation/{generation}.log",
    benchmark:
        "<benchmarks>/merge_generation/{generation}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=jobs.mem_mb,
        runtime=jobs.runtime,
    params:
        config=jobs.config,
        settings=lookup("{generation}", within=settings.generations.merge_generation),
        folder=subpath(output.table, parent=True),
    message:
        "Merging the sequences of {wildcards.generation}"
    shell:
        "printf '%s' {params.config:q} | evo2-tasks merge-generation --config - --log {log:q}"
        " --generation {wildcards.generation:q} --prompts {input.prompts:q}"
        # The folder, not its files: a command line cannot hold the paths of a thousand shards.
        " --generated {params.folder:q}/generated --fasta {output.fasta:q}"
        " --out {output.table:q} --steps {output.steps:q} --run-json {output.run:q}"
