{#
  The problems of one entry of `features`, as a list of sentences.

    featurelayer._rolling_feature_problems('late_share', {'agg': 'share'})
    -> ["features.late_share: 'share' needs `of`, a condition"]
#}
{% macro _rolling_feature_problems(name, feature) %}
    {% set aggs = ['count', 'sum', 'mean', 'min', 'max', 'stddev', 'count_distinct', 'share', 'time_since_last', 'last_time'] %}
    {% set problems = [] %}
    {% set place = 'features.' ~ name ~ ': ' %}
    {% set agg = feature.get('agg') %}
    {% if agg not in aggs %}
        {% do problems.append(place ~ "'" ~ agg ~ "' is not an aggregate; there are " ~ aggs | join(', ')) %}
    {% elif agg in ['time_since_last', 'last_time'] and feature.get('of') %}
        {% do problems.append(place ~ "'" ~ agg ~ "' takes no `of`; select the events with `where`") %}
    {% elif agg not in ['count', 'time_since_last', 'last_time'] and not feature.get('of') %}
        {% do problems.append(place ~ "'" ~ agg ~ "' needs `of`, " ~ ('a condition' if agg == 'share' else 'a column or expression')) %}
    {% endif %}
    {% for key in feature if key not in ['agg', 'of', 'where'] %}
        {% do problems.append(place ~ "'" ~ key ~ "' is unknown; there are agg, of, where") %}
    {% endfor %}
    {{ return(problems) }}
{% endmacro %}
