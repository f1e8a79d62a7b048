with rolling as (
    {{ featurelayer.rolling_features(
        relation=ref('stg_landed_flights'),
        keys=['origin', 'scheduled_hour'],
        event_time='landed_at',
        windows=['28 days'],
        features={
            'flights': {'agg': 'count'},
            'arr_delay_mean': {'agg': 'mean', 'of': 'arr_delay'},
            'late_share': {'agg': 'share', 'of': 'arr_delay >= 15'},
        },
    ) }}
)

select
    origin as airport,
    scheduled_hour as hour,
    landed_at as measured_at,
    flights_28d as flights,
    arr_delay_mean_28d as arr_delay_mean,
    late_share_28d as late_share
from rolling
